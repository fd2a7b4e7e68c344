//! How long each view takes on a large synthetic stream: `cargo run --release -p weir-history --example
//! verify_speed -- [TRANSACTIONS]`, two million by default, over thirty thousand agents of which a few
//! make most of the payments.

#[path = "../tests/history/views.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests")]
mod views;

use std::io::Write;
use std::time::Instant;

use weir_events::Timestamp;

const AGENTS: u64 = 30_000;
const BUSY_AGENTS: u64 = 8;

#[allow(clippy::unwrap_used, reason = "an example fails by panicking")]
fn main() {
    let transactions: u64 = std::env::args().nth(1).map_or(2_000_000, |count| count.parse().unwrap());
    let start = views::at("2026-05-05T00:00:00Z").0;
    let mut out = std::io::stdout();
    let mut oracle = views::oracle();
    let mut state = 1_u64;
    let mut random = move |end: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    };
    let began = Instant::now();
    for number in 0..transactions {
        let busy = random(100) < 40;
        let agent = if busy { random(BUSY_AGENTS) } else { random(AGENTS) };
        let user = agent / (1 + agent % 5).max(2);
        let time_us = start + i64::try_from(number * 86_400_000_000 / transactions).unwrap();
        let (tx_id, agent_id) = (format!("tx_{number:09}"), format!("agt_{agent:06}"));
        let mut made = views::transaction(&tx_id, &agent_id, &format!("usr_{user:06}"), Timestamp(time_us));
        made.amount = weir_events::Amount(i128::from(1 + random(20_000)) * 1_000_000);
        made.mandate_id = Some(format!("mdt_{:05}", random(20_000)).into());
        made.merchant_category = Some(format!("category_{}", random(12)).into());
        made.location = views::located(i32::try_from(random(50_000_000)).unwrap(), 0);
        oracle.push(&made, false).unwrap();
    }
    let mandates: Vec<_> = (0..20_000)
        .map(|number| {
            let mut made = views::mandate(&format!("mdt_{number:05}"), "agent", "user");
            made.max_amount = Some(views::units("100"));
            made.scope_merchant = Some(format!("m{}", number % 4));
            made
        })
        .collect();
    oracle.mandates(mandates.iter().cloned()).unwrap();
    writeln!(out, "pushed {transactions} in {:.1} s", began.elapsed().as_secs_f64()).unwrap();
    for view in &views::VIEWS {
        let began = Instant::now();
        let rows = oracle.rows(view.name).unwrap().len();
        writeln!(out, "{:<18}{rows:>9} rows {:>7.1} s", view.name, began.elapsed().as_secs_f64()).unwrap();
    }
}
