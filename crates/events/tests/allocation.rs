//! An ordinary record is parsed without touching the heap.
#![allow(unsafe_code, reason = "an allocator that counts is unsafe by its trait")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use weir_events::Currency;
use weir_events::codec::parse_transaction;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as promised by our caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as promised by our caller.
        unsafe { System.dealloc(ptr, layout) }
    }
}

const ORDINARY: &str = r#"{"tx_id":"tx_0000012345","agent_id":"agt_alpha_0042","user_id":"usr_000100","mandate_id":"mdt_000001","merchant":"amazon.com","merchant_category":"5942","amount":"19.99","currency":"EUR","country":"US","lat":37.7749295,"lng":-122.4194155,"location_source":"agent","tx_time":"2026-05-05T14:01:00.250Z","record_time":"2026-05-05T14:01:00.300Z","payment_id":"pay_000012345","retry_of":null,"context":{"session":[1,2.5,"a"],"nested":{"deep":true}}}"#;

fn allocations(run: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

#[test]
fn an_ordinary_record_allocates_nothing() {
    let counted = allocations(|| {
        for _ in 0..100 {
            let transaction = parse_transaction(ORDINARY.as_bytes(), Currency::USD).unwrap();
            assert_eq!(transaction.tx_id, "tx_0000012345");
        }
    });
    assert_eq!(counted, 0);
}

#[test]
fn the_count_counts() {
    let escaped = ORDINARY.replace("amazon", "\\u0061mazon");
    let counted = allocations(|| {
        parse_transaction(escaped.as_bytes(), Currency::USD).unwrap();
    });
    assert_eq!(counted, 1, "the one text with an escape is owned");
}
