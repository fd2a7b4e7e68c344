//! What arrives: payments of every kind, good and bad, and mandates that come, change and go.

use weir_events::Timestamp;
use weir_events::time::{DAY_US, HOUR_US, MINUTE_US, SECOND_US};
use weir_log::Partitioner;

use crate::Random;

/// A record on its way into a topic.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// Where it goes, right or wrong.
    pub(crate) partition: i32,
    /// Its key.
    pub(crate) key: Option<Vec<u8>>,
    /// Its value.
    pub(crate) value: Option<Vec<u8>>,
    /// The log's time for it.
    pub(crate) timestamp_us: Option<i64>,
}

/// What arrives next.
#[derive(Debug, Clone)]
pub(crate) enum Arrival {
    /// A payment.
    Transaction(Sent),
    /// A mandate.
    Mandate(Sent),
}

/// Users, agents and mandates of a seed.
#[derive(Debug)]
pub(crate) struct Generator {
    random: Random,
    partitions: i32,
    partitioner: Partitioner,
    users: Vec<String>,
    agents: Vec<&'static str>,
    /// Mandates that there may be by now; new ones come up as the stream goes on.
    mandates: Vec<String>,
    merchants: Vec<&'static str>,
    amounts: Vec<&'static str>,
    steps: &'static [i64],
    now_us: i64,
    sent: Vec<Payment>,
    number: usize,
    /// In a hundred payments, how many are not as they should be.
    nasty: usize,
}

/// A payment's values.
#[derive(Debug, Clone)]
struct Payment {
    tx_id: String,
    user: String,
    agent: &'static str,
    mandate: Option<String>,
    merchant: &'static str,
    category: Option<&'static str>,
    amount: &'static str,
    currency: &'static str,
    time_us: i64,
    record_us: Option<i64>,
    place: Option<(&'static str, &'static str)>,
}

const STEPS: [&[i64]; 4] = [
    &[0, SECOND_US, 2 * SECOND_US, 5 * SECOND_US],
    &[0, 10 * SECOND_US, MINUTE_US, 10 * MINUTE_US],
    &[12 * SECOND_US],
    &[0, SECOND_US, HOUR_US, 6 * HOUR_US, DAY_US],
];

impl Generator {
    /// The names of a seed.
    #[must_use]
    pub(crate) fn new(mut random: Random, partitions: i32, partitioner: Partitioner) -> Self {
        let users = 2 + random.below(6);
        let steps = STEPS[random.below(STEPS.len())];
        Self {
            partitions,
            partitioner,
            users: (0..users)
                .map(|at| if at == 1 { "Ünï/用户\"🦀".to_owned() } else { format!("usr_{at}") })
                .collect(),
            agents: ["a", "b", "é, with comma"][..1 + random.below(3)].to_vec(),
            mandates: (0..2 + random.below(8)).map(|at| format!("mdt_{at}")).collect(),
            merchants: ["shop.example", "expedia.com", "casino.example"][..1 + random.below(3)].to_vec(),
            amounts: ["20", "19.99", "150.5", "0.00000001"][..1 + random.below(4)].to_vec(),
            steps,
            now_us: Timestamp::parse("2026-05-31T20:00:00Z").unwrap().0,
            sent: Vec::new(),
            number: 0,
            nasty: random.pick(&[5, 20, 40]),
            random,
        }
    }

    /// Where a key belongs; anywhere, but always the same place, where nobody can say.
    fn partition(&self, key: &str) -> i32 {
        let by = if self.partitioner == Partitioner::Any { Partitioner::Crc32 } else { self.partitioner };
        by.partition(key.as_bytes(), self.partitions).unwrap()
    }

    fn send(&mut self, key: &str, value: Vec<u8>) -> Sent {
        let times = [None, Some(self.now_us), Some(self.now_us + SECOND_US), Some(-1), Some(i64::MAX)];
        let timestamp_us = if self.random.percent(90) { Some(self.now_us) } else { self.random.pick(&times) };
        Sent {
            partition: self.partition(key),
            key: Some(key.as_bytes().to_vec()),
            value: Some(value),
            timestamp_us,
        }
    }

    /// The next payment.
    pub(crate) fn transaction(&mut self) -> Arrival {
        self.now_us += self.random.pick(self.steps);
        if self.random.percent(6) {
            self.mandates.push(format!("mdt_{}", self.mandates.len()));
        }
        let mut payment = self.payment();
        let nasty = self.random.percent(self.nasty);
        if nasty && !self.sent.is_empty() && self.random.percent(50) {
            return Arrival::Transaction(self.again());
        }
        if nasty && self.random.percent(50) {
            self.set_clock(&mut payment);
        }
        let text = payment.json(&mut self.random);
        let mut sent = self.send(&payment.user.clone(), text.into_bytes());
        if nasty && self.random.percent(50) {
            self.spoil(&mut sent);
        }
        self.sent.push(payment);
        Arrival::Transaction(sent)
    }

    fn payment(&mut self) -> Payment {
        self.number += 1;
        let random = &mut self.random;
        let mandate = match random.below(10) {
            0 | 1 => None,
            2 => Some("mdt_unheard_of".to_owned()),
            // The newest ones most of all.
            3..=5 => self.mandates.last().cloned(),
            _ => Some(random.pick(&self.mandates)),
        };
        Payment {
            tx_id: format!("t{}-{}", random.below(100), self.number),
            user: random.pick(&self.users),
            agent: random.pick(&self.agents),
            mandate,
            merchant: random.pick(&self.merchants),
            category: random.pick(&[
                None,
                Some("groceries"),
                Some("airlines"),
                Some("gift-cards"),
                Some("5411"),
            ]),
            amount: random.pick(&self.amounts),
            currency: random.pick(&["USD", "USD", "USD", "EUR", "JPY", "CHF"]),
            time_us: self.now_us - if random.percent(20) { random.between(0, MINUTE_US) } else { 0 },
            record_us: random.percent(20).then_some(self.now_us),
            place: random.pick(&[None, Some(("37.7", "-122.4")), Some(("52.5", "13.4"))]),
        }
    }

    /// A payment that was sent before: equal, or another under its id.
    fn again(&mut self) -> Sent {
        let mut payment = self.random.pick(&self.sent.clone());
        match self.random.below(5) {
            0 => payment.amount = "77",
            1 => payment.agent = "another",
            2 => payment.record_us = Some(payment.time_us),
            _ => {}
        }
        let text = payment.json(&mut self.random);
        self.send(&payment.user.clone(), text.into_bytes())
    }

    /// A clock that is behind, or ahead, or far ahead.
    fn set_clock(&mut self, payment: &mut Payment) {
        let random = &mut self.random;
        let off = [-6 * MINUTE_US, -3 * HOUR_US, -30 * HOUR_US, 7 * MINUTE_US, 40 * DAY_US, 3650 * DAY_US];
        payment.time_us += random.pick(&off);
        payment.record_us = random.percent(40).then_some(self.now_us);
    }

    /// A record that cannot be used.
    fn spoil(&mut self, sent: &mut Sent) {
        let value = sent.value.clone().unwrap_or_default();
        match self.random.below(9) {
            0 => sent.key = None,
            1 => sent.key = Some(b"somebody else".to_vec()),
            2 => sent.partition = (sent.partition + 1) % self.partitions,
            3 => sent.value = None,
            4 => sent.value = Some(value[..value.len() / 2].to_vec()),
            5 => sent.value = Some([b"\xff\xfe\0".as_slice(), &value].concat()),
            6 => sent.value = Some(b"[1, 2]".to_vec()),
            7 => sent.value = Some([b"[".repeat(200), b"4111 1111 1111 1111".to_vec()].concat()),
            _ => {
                sent.value = Some(String::from_utf8(value).unwrap().replace("amount", "amuont").into_bytes())
            }
        }
    }

    /// The next record of a mandate.
    pub(crate) fn mandate(&mut self) -> Arrival {
        let newest = self.random.percent(40);
        let mandate_id = if newest {
            self.mandates[self.mandates.len() - 1].clone()
        } else {
            self.random.pick(&self.mandates)
        };
        if self.random.percent(15) {
            let mut sent = self.send(&mandate_id, Vec::new());
            sent.value = self
                .random
                .percent(70)
                .then(|| format!(r#"{{"mandate_id":"{mandate_id}","deleted":true}}"#).into_bytes());
            return Arrival::Mandate(self.misplaced(sent));
        }
        let text = self.terms(&mandate_id);
        let mut sent = self.send(&mandate_id, text.into_bytes());
        if self.random.percent(12) {
            let value = sent.value.clone().unwrap_or_default();
            match self.random.below(4) {
                0 => sent.key = None,
                1 => sent.key = self.random.pick(&[Some(b"another".to_vec()), Some(b"\xff\xff".to_vec())]),
                2 => sent.value = Some(value[..value.len() / 2].to_vec()),
                _ => sent.value = Some(b"{\"mandate_id\": \"mdt_0\", \"max_amount\": -1}".to_vec()),
            }
            if sent.key.as_deref() == Some(b"\xff\xff") && self.random.percent(50) {
                sent.value = None;
            }
        }
        Arrival::Mandate(self.misplaced(sent))
    }

    fn misplaced(&mut self, mut sent: Sent) -> Sent {
        if self.partitioner != Partitioner::Any && self.random.percent(4) {
            sent.partition = (sent.partition + 1) % self.partitions;
        }
        sent
    }

    fn terms(&mut self, mandate_id: &str) -> String {
        let random = &mut self.random;
        let (agent, user) = (random.pick(&self.agents), random.pick(&self.users));
        let mut text = format!(
            r#"{{"mandate_id":"{mandate_id}","agent_id":{},"user_id":{}"#,
            serde_json::to_string(agent).unwrap(),
            serde_json::to_string(&user).unwrap()
        );
        let optional = [
            (60, format!(r#""scope_merchant":"{}""#, random.pick(&self.merchants))),
            (60, format!(r#""max_amount":"{}""#, random.pick(&["10", "40", "1000"]))),
            (40, format!(r#""max_amount_period":"{}""#, random.pick(&["lifetime", "day", "month"]))),
            (10, r#""max_uses":1"#.to_owned()),
            (20, format!(r#""authorized_tps":{}"#, random.pick(&["0.1", "2.5"]))),
            (20, format!(r#""status":"{}""#, random.pick(&["paused", "revoked", "active"]))),
            (20, format!(r#""valid_to":"{}""#, Timestamp(self.now_us + HOUR_US))),
            (20, r#""note":{"any": [1e400, "\ud83e", null, "\u0000"]}"#.to_owned()),
            (10, "\"spread\" : [\n  1,\r\n\t2 ]".to_owned()),
        ];
        for (chances, field) in optional {
            if random.percent(chances) {
                text = format!("{text},{field}");
            }
        }
        text + random.pick(&["}", "}", "} ", "}\n"])
    }
}

impl Payment {
    fn json(&self, random: &mut Random) -> String {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let mut fields = vec![
            format!(r#""tx_id":{}"#, quoted(&self.tx_id)),
            format!(r#""agent_id":{}"#, quoted(self.agent)),
            format!(r#""user_id":{}"#, quoted(&self.user)),
            format!(r#""merchant":{}"#, quoted(self.merchant)),
            format!(r#""amount":"{}""#, self.amount),
            format!(r#""currency":"{}""#, self.currency),
            format!(r#""tx_time":"{}""#, Timestamp(self.time_us)),
        ];
        fields.extend(self.mandate.as_ref().map(|id| format!(r#""mandate_id":{}"#, quoted(id))));
        fields.extend(self.category.map(|category| format!(r#""merchant_category":"{category}""#)));
        fields.extend(self.record_us.map(|us| format!(r#""record_time":"{}""#, Timestamp(us))));
        fields.extend(self.place.map(|(lat, lng)| format!(r#""lat":{lat},"lng":{lng}"#)));
        let first = random.below(fields.len());
        fields.rotate_left(first);
        format!("{{{}}}", fields.join(","))
    }
}
