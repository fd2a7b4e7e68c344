//! Card numbers: masked in every file, but for the ids of accepted records.

use serde_json::{Value, json};

use crate::support::{Folder, outputs, replay};

/// Hands out card numbers, each another: 15 digits and the digit that makes them pass Luhn's test.
struct Cards(u64);

impl Cards {
    fn next(&mut self) -> String {
        self.0 += 1;
        let digits = format!("4{:014}", 10_000_000_000_000_u64 / 7 * self.0 % 100_000_000_000_000);
        let doubled = |(at, digit): (usize, u32)| match digit * 2 {
            twice if at % 2 == 0 => twice / 10 + twice % 10,
            _ => digit,
        };
        let sum: u32 = digits.chars().map(|c| c.to_digit(10).unwrap()).enumerate().map(doubled).sum();
        format!("{digits}{}", (10 - sum % 10) % 10)
    }

    /// Another card number, noted under a name.
    fn noted(&mut self, name: &str, notes: &mut Vec<(String, String)>) -> String {
        let card = self.next();
        notes.push((name.to_owned(), card.clone()));
        card
    }
}

/// A card number in groups of four.
fn grouped(card: &str, separator: &str) -> String {
    let groups: Vec<&str> = [0, 4, 8, 12].map(|at| &card[at..at + 4]).into();
    groups.join(separator)
}

/// Payments that make rows in the views and alerts, with a card number wherever text goes.
fn stream(masked: &mut Vec<(String, String)>, ids: &mut Vec<(String, String)>) -> (Vec<Value>, Vec<Value>) {
    let mut cards = Cards(0);
    let (user, agent) = (cards.noted("user_id", ids), cards.noted("agent_id", ids));
    let mandate = cards.noted("mandate_id", ids);
    let allowed = cards.noted("scope_merchant", masked);
    let mandates = vec![json!({
        "mandate_id": mandate, "agent_id": agent, "user_id": user, "max_amount": "20",
        "scope_merchant": format!("shop {}", grouped(&allowed, "-")),
        "allowed_merchants": [cards.noted("allowed_merchants", masked)],
        "allowed_categories": [cards.noted("allowed_categories", masked)],
        "note": cards.noted("unknown field of a mandate", masked),
    })];
    let payment = |number: usize, cards: &mut Cards, masked: &mut Vec<_>, ids: &mut Vec<_>| {
        let merchant = cards.noted("merchant", masked);
        json!({
            "tx_id": cards.noted("tx_id", ids), "agent_id": agent, "user_id": user, "mandate_id": mandate,
            "merchant": format!("{} {number}", grouped(&merchant, " ")),
            "merchant_category": cards.noted("merchant_category", masked),
            "amount": "12.50", "tx_time": format!("2026-05-05T12:00:{:02}Z", number * 3),
            "payment_id": cards.noted("payment_id", masked),
            "note": cards.noted("attribute", masked),
        })
    };
    let mut transactions: Vec<Value> =
        (0..12).map(|number| payment(number, &mut cards, masked, ids)).collect();
    let mut conflict = transactions[0].clone();
    conflict["amount"] = json!("13");
    for field in ["merchant_category", "currency", "country", "tx_time", "location_source", "amount", "lat"] {
        let mut bad = transactions[0].clone();
        for id in ["tx_id", "agent_id", "user_id", "mandate_id"] {
            bad[id] = json!(cards.noted("id of a reject", masked));
        }
        bad[field] = json!([cards.noted("list in a reject", masked)]);
        bad["key"] = json!(cards.noted("attribute of a reject", masked));
        transactions.push(bad.clone());
        bad[field] = json!(cards.noted("text in a reject", masked));
        bad["merchant"] = Value::Null;
        bad[cards.noted("key of a reject", masked)] = json!(1);
        transactions.push(bad);
    }
    transactions.push(conflict);
    (transactions, mandates)
}

#[test]
fn card_numbers_are_masked_in_every_file_and_ids_are_not() {
    let (mut masked, mut ids) = (Vec::new(), Vec::new());
    let (transactions, mut mandates) = stream(&mut masked, &mut ids);
    let mut bad = mandates[0].clone();
    for id in ["mandate_id", "agent_id", "user_id"] {
        bad[id] = json!(Cards(900 + id.len() as u64).noted("id of a rejected mandate", &mut masked));
    }
    bad["max_amount"] = json!(Cards(990).noted("cap of a rejected mandate", &mut masked) + "x");
    mandates.push(bad);

    let folder = Folder::new();
    let lines = |records: &[Value]| records.iter().map(|record| format!("{record}\n")).collect::<String>();
    let (transactions, mandates) =
        (folder.file("t.ndjson", lines(&transactions)), folder.file("m.ndjson", lines(&mandates)));
    for format in ["ndjson", "parquet"] {
        let out = folder.text(format);
        let ran = replay(&transactions, Some(&mandates), &out, &["--verify", "--format", format]).ended(0);
        let mut files = outputs(&out);
        files.insert("messages".to_owned(), (ran.out + &ran.err).into_bytes());
        for (name, bytes) in &files {
            for (what, card) in &masked {
                for form in [card.clone(), grouped(card, " "), grouped(card, "-")] {
                    let found = memchr::memmem::find(bytes, form.as_bytes());
                    assert!(found.is_none(), "{what} {form} stands in {name}");
                }
            }
        }
        if format == "parquet" {
            continue;
        }
        let whole = |name: &str| String::from_utf8(files[name].clone()).unwrap();
        assert!(ids.iter().all(|(_, id)| whole("/decisions.ndjson").contains(id)));
        for file in ["/risk-scores.ndjson", "/alerts.ndjson", "views/burst.ndjson", "views/scope.ndjson"] {
            assert!(ids.iter().any(|(_, id)| whole(file).contains(id)), "{file} names no id");
        }
        let rejects = whole("/rejects.ndjson");
        assert_eq!(rejects.lines().count(), 16);
        // The conflict alone repeats the ids of an accepted record; as a reject's they are masked too.
        assert!(ids.iter().all(|(_, id)| !rejects.contains(id)));
        let last_four = &masked.iter().find(|(what, _)| what == "merchant").unwrap().1[12..];
        assert!(whole("views/scope.ndjson").contains(last_four), "the last four digits stay");
    }
}
