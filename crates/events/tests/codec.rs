//! What the codec accepts, refuses and holds to be equal.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use weir_events::codec::{MAX_RECORD_BYTES, parse_mandate, parse_transaction};
use weir_events::{
    Amount, CapPeriod, Currency, Fault, Location, LocationSource, MandateRecord, MandateStatus, RejectCode,
};

fn transaction() -> Map<String, Value> {
    let record = json!({
        "tx_id": "tx_1", "agent_id": "agt_1", "user_id": "usr_1", "merchant": "amazon.com",
        "amount": "12.50", "tx_time": "2026-05-05T14:01:00Z",
    });
    record.as_object().unwrap().clone()
}

/// The ordinary record with `fields` in it; a field that is null is taken out.
fn with(fields: Value) -> String {
    let mut record = transaction();
    for (key, value) in fields.as_object().unwrap() {
        if value.is_null() {
            record.remove(key)
        } else {
            record.insert(key.clone(), value.clone())
        };
    }
    Value::Object(record).to_string()
}

/// The ordinary record with `members` written at its end.
fn plus(members: &str) -> String {
    let record = Value::Object(transaction()).to_string();
    format!("{},{members}}}", record.strip_suffix('}').unwrap())
}

fn fault(record: &[u8]) -> Option<Fault> {
    parse_transaction(record, Currency::USD).err()
}

fn fingerprint(record: &str) -> u64 {
    parse_transaction(record.as_bytes(), Currency::USD)
        .unwrap_or_else(|fault| panic!("{record}: {fault}"))
        .fingerprint
}

#[test]
fn every_field_is_read() {
    let record = r#" {"tx_id":"tx_1","agent_id":"agt_1","user_id":"usr_1","mandate_id":"mdt_1","merchant":"caf\u00e9.fr",
        "merchant_category":"5812","amount":19.99,"currency":"EUR","country":"FR","lat":48.85837,"lng":-0.00000015,
        "location_source":"principal","tx_time":"2026-05-05T16:01:00.1234569+02:00","record_time":"2026-05-05T14:01:01Z",
        "payment_id":"pay_1","basket":[1,{"x":null}]} "#;
    let read = parse_transaction(record.as_bytes(), Currency::USD).unwrap();
    assert!(matches!(read.tx_id, Cow::Borrowed("tx_1")));
    assert_eq!((&*read.agent_id, &*read.user_id), ("agt_1", "usr_1"));
    assert_eq!(read.mandate_id.as_deref(), Some("mdt_1"));
    assert_eq!((&*read.merchant, read.merchant_category.as_deref()), ("café.fr", Some("5812")));
    assert_eq!((read.amount.to_string().as_str(), read.currency.as_str()), ("19.99", "EUR"));
    assert_eq!(read.country, Some(*b"FR"));
    assert_eq!(read.location, Some(Location { lat_e7: 488_583_700, lng_e7: -2 }));
    assert_eq!(read.location_source, Some(LocationSource::Principal));
    assert_eq!(read.tx_time.to_string(), "2026-05-05T14:01:00.123456Z");
    assert_eq!(read.record_time.unwrap().to_string(), "2026-05-05T14:01:01.000000Z");
    assert_eq!(read.payment_id.as_deref(), Some("pay_1"));
}

#[test]
fn absent_null_and_default_are_equal() {
    let plain = fingerprint(&plus(r#""x":1"#));
    for members in [
        r#""x":1,"currency":"USD""#,
        r#""x":1,"currency":null"#,
        r#""mandate_id":null,"merchant_category":null,"country":null,"lat":null,"lng":null,"x":1"#,
        r#""location_source":null,"record_time":null,"amount_minor":null,"x":1"#,
        r#""x":1,"retry_of":null"#,
        r#""x":1,"record_time":"2026-05-05T14:01:01Z""#,
        r#""x":1.0"#,
        r#""x":1e0"#,
        r#""x":10E-1"#,
        r#" "x" : 1 "#,
        r#""\u0078":1"#,
    ] {
        assert_eq!(fingerprint(&plus(members)), plain, "{members}");
    }
}

#[test]
fn equal_values_are_equal_however_written() {
    let plain = fingerprint(&with(json!({})));
    for fields in [
        json!({"amount": 12.5}),
        json!({"amount": "12.5"}),
        json!({"amount": "1.250e1"}),
        json!({"amount": null, "amount_minor": 1250}),
        json!({"tx_time": "2026-05-05T16:01:00.000000000+02:00"}),
    ] {
        assert_eq!(fingerprint(&with(fields.clone())), plain, "{fields}");
    }
    let object = fingerprint(&plus(r#""x":{"a":1,"b":[1,2]},"y":2"#));
    assert_eq!(fingerprint(&plus(r#""y":2.0,"x":{"b":[1.0, 2],"\u0061":1}"#)), object);
}

#[test]
fn different_values_differ() {
    let records = [
        with(json!({})),
        with(json!({"tx_id": "tx_2"})),
        with(json!({"tx_id": "tx_1agt", "agent_id": "_1"})),
        with(json!({"agent_id": "agt_2"})),
        with(json!({"user_id": "usr_2"})),
        with(json!({"mandate_id": "mdt_1"})),
        with(json!({"merchant": "target.com"})),
        with(json!({"merchant_category": "mdt_1"})),
        with(json!({"amount": "12.51"})),
        with(json!({"currency": "EUR"})),
        with(json!({"country": "US"})),
        with(json!({"lat": 0, "lng": 0})),
        with(json!({"lat": 0, "lng": 1})),
        with(json!({"location_source": "agent"})),
        with(json!({"location_source": "delivery"})),
        with(json!({"tx_time": "2026-05-05T14:01:00.000001Z"})),
        with(json!({"payment_id": "p"})),
        with(json!({"x": 1})),
        with(json!({"x": -1})),
        with(json!({"x": 10})),
        with(json!({"x": "1"})),
        with(json!({"x": true})),
        with(json!({"x": false})),
        with(json!({"x": ""})),
        with(json!({"x": []})),
        with(json!({"x": [null]})),
        with(json!({"x": [1, 2]})),
        with(json!({"x": [2, 1]})),
        with(json!({"x": [[1], 2]})),
        with(json!({"x": [[1, 2]]})),
        with(json!({"x": {}})),
        with(json!({"x": {"a": 1}})),
        with(json!({"x": {"a": "b", "c": "d"}})),
        with(json!({"x": {"a": "d", "c": "b"}})),
        with(json!({"y": 1})),
        plus(r#""x":1e400"#),
        plus(r#""x":1e401"#),
        plus(r#""x":1e-400"#),
    ];
    let mut prints: Vec<_> = records.iter().map(|record| fingerprint(record)).collect();
    prints.sort_unstable();
    prints.dedup();
    assert_eq!(prints.len(), records.len());
}

/// Fingerprints are kept across restarts and releases, so the format must not move unnoticed.
#[test]
fn the_fingerprint_is_stable() {
    assert_eq!(fingerprint(&plus(r#""x":[1,{"y":"z"}]"#)), STABLE_FINGERPRINT);
}

const STABLE_FINGERPRINT: u64 = 8_577_643_131_717_686_842;

#[test]
fn a_record_may_have_one_mebibyte() {
    let mut record = with(json!({"x": ""}));
    let quote = record.find("\"x\":\"").unwrap() + 5;
    record.insert_str(quote, &"y".repeat(MAX_RECORD_BYTES - record.len()));
    assert_eq!(record.len(), MAX_RECORD_BYTES);
    assert_eq!(fault(record.as_bytes()), None);
    record.push(' ');
    assert_eq!(fault(record.as_bytes()).unwrap().code, RejectCode::TooLarge);
}

#[test]
fn nesting_ends_at_64_levels() {
    let nested =
        |levels: usize| plus(&format!("\"x\":{}1{}", "[".repeat(levels - 1), "]".repeat(levels - 1)));
    assert_eq!(fault(nested(64).as_bytes()), None);
    assert_eq!(fault(nested(65).as_bytes()).unwrap().code, RejectCode::InvalidJson);
    let objects =
        |levels: usize| plus(&format!("\"x\":{}1{}", "{\"a\":".repeat(levels - 1), "}".repeat(levels - 1)));
    assert_eq!(fault(objects(64).as_bytes()), None);
    assert_eq!(fault(objects(65).as_bytes()).unwrap().code, RejectCode::InvalidJson);
    for open in ["[", "{\"a\":"] {
        let deep = open.repeat(MAX_RECORD_BYTES / open.len());
        assert_eq!(fault(deep.as_bytes()).unwrap().code, RejectCode::InvalidJson);
    }
}

#[test]
fn bytes_that_are_not_text_are_refused() {
    let cases: [(&[u8], RejectCode); 9] = [
        (b"", RejectCode::EmptyRecord),
        (b" \t\r\n", RejectCode::EmptyRecord),
        (b"\0", RejectCode::InvalidJson),
        (b"\xef\xbb\xbf{}", RejectCode::InvalidJson),
        (b"\xff", RejectCode::InvalidJson),
        (b"{\"tx_id\":\"\xc3\x28\"}", RejectCode::InvalidJson),
        (b"{\"tx_id\":\"\xed\xa0\x80\"}", RejectCode::InvalidJson),
        (b"{\"tx_id\":\"a\0\"}", RejectCode::InvalidJson),
        (b"{}\0", RejectCode::InvalidJson),
    ];
    for (record, code) in cases {
        assert_eq!(fault(record).unwrap().code, code, "{record:?}");
        assert_eq!(parse_mandate(record, Currency::USD).unwrap_err().code, code, "{record:?}");
    }
}

#[test]
fn long_numbers_are_judged_by_their_value() {
    let nines = "9".repeat(400);
    let zeros = format!("1.{}", "0".repeat(400));
    let digits = format!("1.{}1", "0".repeat(400));
    for (number, code) in [
        (nines.as_str(), Some(RejectCode::InvalidAmount)),
        (&zeros, None),
        (&digits, Some(RejectCode::InvalidAmount)),
        ("1e999999999", Some(RejectCode::InvalidAmount)),
        ("1e-999999999", Some(RejectCode::InvalidAmount)),
        ("1E+2", None),
        ("-0", Some(RejectCode::InvalidAmount)),
        ("0e99999999999999999999", Some(RejectCode::InvalidAmount)),
    ] {
        let number_record = with(json!({"amount": null})).replace('}', &format!(",\"amount\":{number}}}"));
        assert_eq!(fault(number_record.as_bytes()).map(|fault| fault.code), code, "{number}");
        let text_record = with(json!({ "amount": number }));
        assert_eq!(fault(text_record.as_bytes()).map(|fault| fault.code), code, "{number}");
        assert_eq!(fault(plus(&format!("\"x\":{number}")).as_bytes()), None, "{number}");
    }
}

#[test]
fn many_attributes_are_compared_by_key() {
    let members = |count: usize| (0..count).map(|at| format!("\"a{at}\":{at}")).collect::<Vec<_>>();
    for count in [15, 16, 17, 60_000] {
        let mut members = members(count);
        assert_eq!(fault(plus(&members.join(",")).as_bytes()), None);
        let forward = fingerprint(&plus(&members.join(",")));
        members.reverse();
        assert_eq!(fingerprint(&plus(&members.join(","))), forward);
        members.push("\"a\\u0037\":0".to_owned());
        let repeated = fault(plus(&members.join(",")).as_bytes()).unwrap();
        assert_eq!(
            (repeated.code, repeated.field.as_deref()),
            (RejectCode::DuplicateField, Some("a7")),
            "{count}"
        );
    }
}

#[test]
fn faults_tell_what_was_found_without_card_numbers() {
    let fault = fault(with(json!({"country": "4111 1111 1111 1111"})).as_bytes()).unwrap();
    let expected = "country must be an ISO 3166 code of two upper-case letters such as US; found \"**** **** **** 1111\"";
    assert_eq!((fault.message.as_str(), fault.field.as_deref()), (expected, Some("country")));
}

#[test]
fn a_mandate_is_read_whole() {
    let record = r#"{"mandate_id":"mdt_1","agent_id":"agt_1","user_id":"usr_1","scope_merchant":"amazon.com",
        "allowed_merchants":["a.com","b\u002ecom"],"allowed_categories":[],"max_amount":"200","max_amount_period":"week",
        "per_transaction_max":50.5,"max_uses":1,"currency":"EUR","authorized_tps":0.333333333333,
        "valid_from":"2026-05-01T00:00:00Z","valid_to":"2026-05-31T23:59:59Z","status":"paused",
        "updated_at":"2026-05-02T00:00:00Z","deleted":false,"note":{"kept":true}}"#;
    let MandateRecord::State(read) = parse_mandate(record.as_bytes(), Currency::USD).unwrap() else {
        panic!()
    };
    assert_eq!(
        (read.mandate_id.as_str(), read.agent_id.as_str(), read.user_id.as_str()),
        ("mdt_1", "agt_1", "usr_1")
    );
    assert_eq!(read.scope_merchant.as_deref(), Some("amazon.com"));
    assert_eq!(read.allowed_merchants.as_deref(), Some(&["a.com".to_owned(), "b.com".to_owned()][..]));
    assert_eq!(read.allowed_categories.as_deref(), Some(&[][..]));
    assert_eq!((read.max_amount, read.max_amount_period), (Amount::parse("200").ok(), CapPeriod::Week));
    assert_eq!((read.per_transaction_max, read.max_uses), (Amount::parse("50.5").ok(), Some(1)));
    assert_eq!((read.currency.as_str(), read.authorized_tps), ("EUR", Some(Amount(33_333_333))));
    assert_eq!(read.valid_from.unwrap().to_string(), "2026-05-01T00:00:00.000000Z");
    assert_eq!(read.valid_to.unwrap().to_string(), "2026-05-31T23:59:59.000000Z");
    assert_eq!((read.status, read.updated_at.is_some()), (MandateStatus::Paused, true));
}

#[test]
fn a_mandate_has_defaults_and_a_tombstone() {
    let record = br#"{"mandate_id":"mdt_1","agent_id":"agt_1","user_id":"usr_1","status":null}"#;
    let base = Currency::parse("EUR").unwrap();
    let MandateRecord::State(read) = parse_mandate(record, base).unwrap() else { panic!() };
    assert_eq!(
        (read.currency, read.max_amount_period, read.status),
        (base, CapPeriod::Lifetime, MandateStatus::Active)
    );
    assert_eq!((read.max_amount, read.max_uses, read.allowed_merchants), (None, None, None));
    let gone = parse_mandate(br#"{"mandate_id":"mdt_1","deleted":true}"#, base).unwrap();
    assert_eq!(gone, MandateRecord::Deleted { mandate_id: "mdt_1".to_owned(), updated_at: None });
    let dated =
        parse_mandate(br#"{"deleted":true,"updated_at":"2026-05-02T00:00:00Z","mandate_id":"m"}"#, base);
    assert!(matches!(dated, Ok(MandateRecord::Deleted { updated_at: Some(_), .. })));
}

/// Whether `serde_json` takes `bytes` as one JSON text. It holds numbers to the range of a float when
/// it builds a value and not when it skips one; the grammar is what is asked here.
fn is_json(bytes: &[u8]) -> bool {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(_) => true,
        Err(error) if error.to_string().starts_with("number out of range") => {
            serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
        }
        Err(_) => false,
    }
}

fn structural(code: RejectCode) -> bool {
    matches!(code, RejectCode::InvalidJson | RejectCode::EmptyRecord)
}

/// A JSON text of any kind, nested no deeper than is accepted.
fn any_json() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?";
    let string = r#""([ -!#-\[\]-~é]|\\["\\/bfnrt]|\\u00[0-9a-fA-F]{2}|\\ud83d\\ude0[0-9]){0,6}""#;
    let leaf = prop_oneof![
        number,
        string,
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned())
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(" ,"))),
            prop::collection::vec(("[a-c]{0,2}", inner), 0..4).prop_map(|all| {
                let members: Vec<_> = all.iter().map(|(key, value)| format!("\"{key}\" : {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// A record's members in the order of the field table, but for the [`REQUIRED`] ones, which come first.
const MEMBERS: [&str; 17] = [
    r#""tx_id":"t""#,
    r#""agent_id":"a""#,
    r#""user_id":"u""#,
    r#""merchant":"m""#,
    r#""amount":1"#,
    r#""tx_time":"2026-05-05T14:01:00Z""#,
    r#""mandate_id":"d""#,
    r#""merchant_category":"c""#,
    r#""currency":"EUR""#,
    r#""country":"FR""#,
    r#""location_source":"agent""#,
    r#""record_time":"2026-05-05T14:01:00Z""#,
    r#""payment_id":"p""#,
    r#""tx_idd":{"tx_id":"x"}"#,
    r#""amount_":[1,"tx_id"]"#,
    r#""lat_":1"#,
    r#""t":null"#,
];
const REQUIRED: usize = 6;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// What is no JSON to serde_json is none to the codec, and the other way round.
    #[test]
    fn json_is_what_serde_json_takes_for_it(
        value in any_json(),
        at in any::<prop::sample::Index>(),
        damage in prop_oneof![
            Just(""), Just("\""), Just("\\"), Just("\\u12"), Just("\\ud800"), Just("{"), Just("]"), Just(","), Just(":"),
            Just("0"), Just("-"), Just("."), Just("e"), Just("\u{1}"), Just("\u{7f}"), Just("NaN"), Just("x"), Just(" "),
        ],
        cut in prop::bool::weighted(0.3),
    ) {
        let mut text = plus(&format!("\"x\":{value}"));
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        if cut { text.truncate(at) } else { text.insert_str(at, damage) }
        let found = fault(text.as_bytes());
        let accepted = found.as_ref().is_none_or(|fault| !structural(fault.code));
        prop_assert_eq!(accepted, is_json(text.as_bytes()), "{} {:?}", text, found);
        let mandate = parse_mandate(text.as_bytes(), Currency::USD);
        prop_assert_eq!(mandate.err().is_none_or(|fault| !structural(fault.code)), accepted);
    }

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let found = fault(&bytes);
        prop_assert!(found.is_none_or(|fault| structural(fault.code) || is_json(&bytes)));
    }

    /// The fingerprint depends on the values alone: not on order, space, escapes or form of numbers.
    #[test]
    fn fingerprints_follow_values(value in any_json(), other in any_json()) {
        let record = plus(&format!("\"x\":{value},\"y\":{other}"));
        let swapped = plus(&format!("\"y\":{other} , \"x\" :\t{value}"));
        prop_assert_eq!(fingerprint(&record), fingerprint(&swapped));
    }

    /// Fields are looked for where most producers send them; wherever they stand and however their keys are
    /// written, the same is read. `tx_idd` and `amount_` are like keys of fields, and attributes.
    #[test]
    fn the_order_of_fields_does_not_matter(
        members in Just(MEMBERS.to_vec()).prop_shuffle(),
        left_out in prop::collection::vec(prop::bool::weighted(0.2), MEMBERS.len()),
        spaces in prop::collection::vec(prop::bool::weighted(0.2), MEMBERS.len()),
        escapes in prop::collection::vec(prop::bool::weighted(0.2), MEMBERS.len()),
        twice in prop::option::weighted(0.2, 0..MEMBERS.len()),
    ) {
        let kept = |&(at, _): &(usize, &str)| !left_out[at] || at < REQUIRED;
        let ordinary: Vec<&str> = MEMBERS.iter().copied().enumerate().filter(kept).map(|(_, text)| text).collect();
        let mut shuffled = Vec::new();
        for (at, &member) in members.iter().enumerate().filter(|(_, member)| ordinary.contains(member)) {
            let (key, value) = member.split_once(':').unwrap();
            let key = if escapes[at] { key.replace('t', "\\u0074") } else { key.to_owned() };
            shuffled.push(if spaces[at] { format!(" {key} :\t{value}\n") } else { format!("{key}:{value}") });
        }
        let (ordinary, whole) = (format!("{{{}}}", ordinary.join(",")), format!("{{{}}}", shuffled.join(",")));
        let base = Currency::USD;
        let read = parse_transaction(ordinary.as_bytes(), base).unwrap();
        prop_assert_eq!(parse_transaction(whole.as_bytes(), base), Ok(read), "{}", whole);
        if let Some(twice) = twice.and_then(|at| shuffled.get(at)) {
            let more = format!("{{{},{twice}}}", shuffled.join(","));
            let code = fault(more.as_bytes()).map(|fault| fault.code);
            prop_assert_eq!(code, Some(RejectCode::DuplicateField), "{}", more);
        }
    }

    /// Strings read as serde_json reads them, escapes and all.
    #[test]
    fn strings_are_unescaped(text in "\\PC{1,40}|[\u{1}-\u{9f}😀]{1,20}") {
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        for written in [serde_json::to_string(&text).unwrap(), format!("\"{escaped}\"")] {
            let record = with(json!({"merchant": null})).replace('}', &format!(",\"merchant\":{written}}}"));
            let read = parse_transaction(record.as_bytes(), Currency::USD);
            prop_assert_eq!(&*read.unwrap().merchant, text.as_str());
        }
    }

    #[test]
    fn places_are_rounded_half_to_even(units in -9_000_000_000_i64..=9_000_000_000) {
        let sign = if units < 0 { "-" } else { "" };
        let text = format!("{sign}{}.{:08}", units.abs() / 100_000_000, units.abs() % 100_000_000);
        let record = plus(&format!("\"lat\":{text},\"lng\":0"));
        let read = parse_transaction(record.as_bytes(), Currency::USD).unwrap().location.unwrap();
        let (tenth, rest) = (units / 10, (units % 10).abs());
        let up = rest > 5 || (rest == 5 && tenth % 2 != 0);
        let rounded = tenth + if up { units.signum() } else { 0 };
        prop_assert_eq!(i64::from(read.lat_e7), rounded, "{}", text);
    }
}
