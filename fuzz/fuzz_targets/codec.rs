//! Any bytes at all: the codec never panics, accepts nothing that is not JSON, reads the same twice,
//! and no card number survives masking.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::mask::mask;
use weir_events::reject::{MAX_ORIGINAL_BYTES, OriginalEncoding};
use weir_events::{Currency, Fault, Origin, Reject};

fuzz_target!(|record: &[u8]| {
    let transaction = parse_transaction(record, Currency::USD);
    assert_eq!(transaction, parse_transaction(record, Currency::USD));
    judge(record, transaction.err());
    let mandate = parse_mandate(record, Currency::USD);
    assert_eq!(mandate, parse_mandate(record, Currency::USD));
    judge(record, mandate.err());
});

fn judge(record: &[u8], fault: Option<Fault>) {
    let Some(fault) = fault else {
        assert!(serde_json::from_slice::<IgnoredAny>(record).is_ok());
        return;
    };
    assert_eq!(mask(&fault.message), fault.message);
    let reject = Reject::new(fault, Origin::Http, record);
    let whole = reject.original.bytes <= MAX_ORIGINAL_BYTES as u64;
    if whole && reject.original.encoding == OriginalEncoding::Utf8 {
        assert_eq!(mask(&reject.original.text), reject.original.text);
    }
    assert!(serde_json::to_string(&reject).is_ok());
}
