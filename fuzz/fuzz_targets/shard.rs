//! Lines of any bytes through codec, intake and one shard with bounds so small that all are reached:
//! every record is accounted for, and a restart in the middle changes nothing.
//!
//! A line that begins with `{` is a record as it stands. Any other is a row of choices, from which a
//! record that mostly can be read is made, so that the fuzzer gets past the codec soon. Mandates stand
//! after `m`; the very first byte says where the restart happens.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_detectors::Bounds;
use weir_engine::Config;
use weir_events::Span;
use weir_proof::{Random, Told, Weir, World, serialized};

/// Users and agents of the made records are few, so that what is kept by key grows.
const LINES_MAX: usize = 300;

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let config = config();
    let (mut mandates, mut transactions) = (Vec::new(), Vec::new());
    let mut maker = Maker::new();
    for line in bytes.split(|&byte| byte == b'\n').take(LINES_MAX) {
        match line.split_first() {
            None => {}
            Some((b'{', _)) => transactions.push(line.to_vec()),
            Some((b'm', [b'{', ..])) => mandates.push(line[1..].to_vec()),
            Some((b'm', choices)) => mandates.push(maker.mandate(choices)),
            Some(_) => transactions.push(maker.transaction(line)),
        }
    }
    let cut = usize::from(cut) % (transactions.len() + 1);
    check(&config, &mandates, &transactions, cut);
});

fn check(config: &Config, mandates: &[Vec<u8>], transactions: &[Vec<u8>], cut: usize) {
    let mut weir = Weir::new(config, mandates, 1, 1).unwrap();
    let mut restored = None;
    let (mut decisions, mut others) = (0, 0);
    for (at, line) in transactions.iter().enumerate() {
        if at == cut {
            let tables = serialized(&weir.snapshot());
            restored = Some(Weir::restored(config, mandates, &tables, 2).unwrap());
        }
        let step = weir.step(line).unwrap();
        if let Some(restored) = &mut restored {
            assert_eq!(step, restored.step(line).unwrap(), "record {at}, restored at {cut}");
        }
        match step.told {
            Told::Decision { .. } => decisions += 1,
            Told::Duplicate | Told::Reject(_) => others += 1,
        }
    }
    assert_eq!(decisions + others, transactions.len() as u64);
    let end = weir.end().unwrap();
    assert_eq!(decisions, end.profiles.iter().map(|profile| profile.payments_seen).sum::<u64>());
    if let Some(restored) = &mut restored {
        let again = restored.end().unwrap();
        assert_eq!((end.profiles, end.reached), (again.profiles, again.reached));
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.time.dedup_horizon = Span::minutes(10);
    config.bounds = Bounds {
        agent_payments_max: 8,
        user_payments_max: 16,
        user_pairs_max: 2,
        windows_judged_max: 3,
        pair_scan_max: 3,
        agent_categories_max: 3,
        use_merchants_max: 2,
        use_currencies_max: 2,
        ledger_periods_max: 3,
        ledger_agents_max: 2,
        agent_actions_max: 10,
        holder_mandates_max: 2,
        remembered_ids_max: 16,
        ..Bounds::default()
    };
    config
}

/// Makes records from choices.
struct Maker {
    world: World,
    now_us: i64,
}

impl Maker {
    fn new() -> Self {
        Self { world: World::draw(&mut Random::new(0), 300_000_000), now_us: 1_778_000_000_000_000 }
    }

    fn transaction(&mut self, choices: &[u8]) -> Vec<u8> {
        self.world.transaction(&mut Random::from_bytes(choices), &mut self.now_us).into_bytes()
    }

    fn mandate(&mut self, choices: &[u8]) -> Vec<u8> {
        self.world.mandate(&mut Random::from_bytes(choices), self.now_us).into_bytes()
    }
}
