//! A cluster of instances on one log, what arrives, and all that goes wrong.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use weir_engine::Config;
use weir_engine::config::CurrencyCode;
use weir_events::{Amount, Currency, Plain, Span};
use weir_log::{LogError, Partitioner, Topic};
use weir_service::snapshots::Store;
use weir_service::{Portion, ServiceError, Settings, Start};

use crate::Random;
use crate::instance::{Instance, Live, Phase, Step};
use crate::log::{Defect, MANDATES, Outcome, SimLog, TRANSACTIONS};
use crate::objects::Objects;
use crate::stream::{Arrival, Generator, Sent};

/// Steps after which everything must have settled once nothing goes wrong any more.
const SETTLE_STEPS: usize = 20_000;

/// What goes wrong on a seed, and how often: chances in a thousand steps.
#[derive(Debug, Clone)]
pub struct Plan {
    /// All mandates stand in their topic before the first payment, and the configuration stays.
    pub quiet: bool,
    /// An instance that starts may have another configuration.
    pub reconfigures: bool,
    /// Nothing is ever deleted from the journal.
    pub keeps_journal: bool,
    /// Batches that arrive.
    pub batches: usize,
    /// An instance dies.
    pub crash: usize,
    /// Partitions move.
    pub rebalance: usize,
    /// The broker goes away.
    pub outage: usize,
    /// A commit goes wrong, in a hundred.
    pub commit: usize,
    /// An instance becomes a zombie.
    pub zombie: usize,
    /// Snapshots' files are lost or damaged.
    pub damage: usize,
    /// The store of snapshots fails.
    pub store: usize,
    /// The mandates topic is compacted.
    pub compaction: usize,
    /// A read fails.
    pub read: usize,
    /// Commits are slow, in a hundred.
    pub slow: usize,
    /// An instance reads on in the mandates topic, in a hundred.
    pub reading: usize,
    /// A live shard goes on with its snapshots, in a hundred.
    pub snapshots: usize,
}

impl Plan {
    fn draw(random: &mut Random) -> Self {
        let quiet = random.percent(35);
        let keeps_journal = random.percent(50);
        let damage = random.pick(&[0, 0, 5, 20]);
        Self {
            quiet,
            reconfigures: !quiet && random.percent(50),
            keeps_journal,
            batches: 15 + random.below(50),
            crash: random.pick(&[0, 2, 10]),
            rebalance: random.pick(&[0, 5, 20]),
            outage: random.pick(&[0, 3, 10]),
            commit: random.pick(&[0, 5, 20]),
            // A zombie goes on writing after a snapshot whose files are damaged, and would shorten the journal.
            zombie: if damage > 0 && !keeps_journal { 0 } else { random.pick(&[0, 3, 10]) },
            damage,
            store: random.pick(&[0, 0, 10]),
            compaction: random.pick(&[0, 5, 30]),
            read: random.pick(&[0, 0, 10]),
            slow: random.pick(&[0, 30, 70]),
            reading: random.pick(&[3, 20, 50]),
            snapshots: random.pick(&[5, 30, 100]),
        }
    }
}

/// How often what happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Steps.
    pub steps: u64,
    /// Instances that died.
    pub crashes: u64,
    /// Moves of partitions.
    pub moves: u64,
    /// Zombies.
    pub zombies: u64,
    /// Shards that lost their state to an error.
    pub losses: u64,
    /// Snapshots published.
    pub snapshots: u64,
    /// Files of snapshots damaged.
    pub damages: u64,
    /// Commits applied.
    pub commits: u64,
    /// Commits refused to those who were fenced.
    pub fenced: u64,
    /// Records that arrived.
    pub records: u64,
    /// Recoveries.
    pub recoveries: u64,
    /// Of them from a snapshot.
    pub from_snapshot: u64,
    /// Batches that left changed mandates to the next.
    pub parts: u64,
    /// Most checkpoints that a snapshot was made of, beside its base.
    pub longest_chain: usize,
}

impl Counts {
    /// Adds those of another seed.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.crashes += other.crashes;
        self.moves += other.moves;
        self.zombies += other.zombies;
        self.losses += other.losses;
        self.snapshots += other.snapshots;
        self.damages += other.damages;
        self.commits += other.commits;
        self.fenced += other.fenced;
        self.records += other.records;
        self.recoveries += other.recoveries;
        self.parts += other.parts;
        self.from_snapshot += other.from_snapshot;
        self.longest_chain = self.longest_chain.max(other.longest_chain);
    }
}

/// See the module.
pub struct World {
    /// What goes wrong.
    pub plan: Plan,
    /// The log.
    pub log: SimLog,
    /// What snapshots are kept in.
    pub objects: Objects,
    /// The store of snapshots over it.
    pub store: Arc<Store>,
    /// The instances that are members of the group; `None`: none runs in this place.
    pub instances: Vec<Option<Instance>>,
    /// What everybody goes by, but for the deciding configuration.
    pub settings: Settings,
    /// What happened, for who looks for the cause of a failure.
    pub trace: Vec<String>,
    /// How often.
    pub counts: Counts,
    zombies: Vec<Instance>,
    generator: Generator,
    left: usize,
    tokens: u64,
    healing: usize,
    random: Random,
}

impl World {
    /// The world of a seed before the first step.
    #[must_use]
    pub fn new(seed: u64, defect: Option<Defect>) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random);
        let partitions = 2 + random.below(3);
        let partitioner =
            random.pick(&[Partitioner::Murmur2, Partitioner::Murmur2, Partitioner::Crc32, Partitioner::Any]);
        let log = SimLog::new(partitions, defect, random.fork());
        log.cluster().keeps_journal = plan.keeps_journal;
        log.cluster().forgets_input = random.percent(50);
        let objects = Objects::default();
        let store = Store::over(Arc::new(objects.clone()), Path::default()).unwrap();
        let generator = Generator::new(random.fork(), i32::try_from(partitions).unwrap(), partitioner);
        let settings = settings(configuration(&mut random), partitioner);
        let instances = (0..1 + random.below(3)).map(|_| None).collect();
        let left = plan.batches;
        let mut world = Self {
            plan,
            log,
            objects,
            store: Arc::new(store),
            instances,
            settings,
            trace: Vec::new(),
            counts: Counts::default(),
            zombies: Vec::new(),
            generator,
            left,
            tokens: 0,
            healing: 0,
            random,
        };
        world.begin();
        world
    }

    /// The first mandates, the first instances.
    fn begin(&mut self) {
        let mandates = if self.plan.quiet { 20 } else { self.random.below(12) };
        for _ in 0..mandates {
            let arrival = self.generator.mandate();
            self.arrives(arrival);
        }
        for at in 0..self.instances.len() {
            self.start(at);
        }
        self.rebalance();
    }

    fn note(&mut self, what: impl Into<String>) {
        self.trace.push(format!("{:5} {}", self.counts.steps, what.into()));
    }

    /// Runs the seed to its end.
    ///
    /// # Errors
    /// What should not have happened.
    pub fn run(&mut self) -> Result<(), String> {
        while self.left > 0 {
            self.counts.steps += 1;
            self.happens();
            self.step(self.plan.slow)?;
        }
        self.settle()?;
        let cluster = self.log.cluster();
        (self.counts.commits, self.counts.fenced) = (cluster.commits, cluster.fenced);
        (self.counts.recoveries, self.counts.from_snapshot) = cluster.recoveries;
        self.counts.parts = cluster.parts;
        self.counts.longest_chain = cluster.longest_chain;
        Ok(())
    }

    /// Whatever happens to the cluster now.
    fn happens(&mut self) {
        if self.random.percent(12) {
            self.arrive();
        }
        let plan = self.plan.clone();
        if self.random.permille(plan.crash) {
            self.crash();
        }
        if self.random.permille(plan.rebalance) {
            self.rebalance();
        }
        if self.random.permille(plan.zombie) {
            self.make_zombie();
        }
        if self.random.permille(plan.damage) {
            self.damage();
        }
        if self.random.permille(plan.compaction) {
            self.compact();
        }
        if self.random.permille(plan.store) {
            let calls = i64::try_from(self.random.below(12)).unwrap();
            self.objects.fail_after(calls);
            self.healing = 30;
            self.note(format!("store fails after {calls} calls"));
        }
        if self.random.permille(plan.read) {
            let reads = u32::try_from(self.random.below(40)).unwrap();
            self.log.cluster().read_fails_in = Some(reads);
        }
        if self.random.permille(plan.outage) {
            self.log.cluster().down = true;
            self.healing = 1 + self.random.below(60);
            self.note("the broker is away");
        }
        if self.random.percent(plan.commit) {
            let retries = 1 + u32::try_from(self.random.below(3)).unwrap();
            let outcomes = [Outcome::Retried(retries), Outcome::AnswerLost, Outcome::Broken];
            self.log.cluster().outcome = self.random.pick(&outcomes);
        }
        if self.random.permille(5) {
            let at = self.random.below(self.partitions());
            let position = self.random.pick(&[None, Some(0), Some(1000)]);
            self.log.cluster().group[at] = position;
        }
        match self.healing {
            0 => {}
            1 => self.heal(),
            _ => self.healing -= 1,
        }
    }

    fn heal(&mut self) {
        self.healing = 0;
        self.objects.heal();
        self.log.cluster().down = false;
    }

    fn partitions(&self) -> usize {
        self.log.cluster().transactions.len()
    }

    /// Some records arrive.
    fn arrive(&mut self) {
        self.left -= 1;
        for _ in 0..=self.random.below(8) {
            let mandate = !self.plan.quiet && self.random.percent(15);
            let arrival = if mandate { self.generator.mandate() } else { self.generator.transaction() };
            self.arrives(arrival);
        }
    }

    fn arrives(&mut self, arrival: Arrival) {
        let gap = if self.random.percent(15) { self.random.between(1, 3) } else { 0 };
        let mut cluster = self.log.cluster();
        let (streams, sent) = match &arrival {
            Arrival::Transaction(sent) => (&mut cluster.transactions, sent),
            Arrival::Mandate(sent) => (&mut cluster.mandates, sent),
        };
        let Sent { partition, key, value, timestamp_us } = sent;
        let stream = &mut streams[usize::try_from(*partition).unwrap()];
        stream.append(*timestamp_us, key.as_deref(), value.as_deref());
        stream.skip(gap);
        self.counts.records += 1;
    }

    /// Starts an instance in a place that is empty.
    fn start(&mut self, at: usize) {
        let mut settings = self.settings.clone();
        settings.seed = self.random.any();
        if self.plan.reconfigures {
            settings.config = configuration(&mut self.random);
        }
        self.note(format!("instance {at} starts with configuration {}", &settings.config.digest()[..8]));
        let mut instance = Instance::new(&self.log, &self.store, settings);
        instance.snapshots = self.plan.snapshots;
        self.instances[at] = Some(instance);
    }

    fn crash(&mut self) {
        let at = self.random.below(self.instances.len());
        self.kill(at);
    }

    /// An instance dies; another may be started in its place at once.
    fn kill(&mut self, at: usize) {
        let Some(instance) = self.instances[at].take() else {
            self.start(at);
            return;
        };
        self.counts.crashes += 1;
        self.note(format!("instance {at} dies with {:?}", instance.shards.keys().collect::<Vec<_>>()));
        self.bury(instance);
        if self.random.percent(50) {
            self.start(at);
        }
        if self.random.percent(70) {
            self.rebalance();
        }
    }

    fn bury(&mut self, instance: Instance) {
        let mut cluster = self.log.cluster();
        for shard in instance.shards.values() {
            cluster.believers.remove(&shard.token);
            let at = usize::try_from(shard.number).unwrap();
            if cluster.owners[at] == Some(shard.token) {
                cluster.owners[at] = None;
                // What it had begun is aborted once its partition is opened again.
                cluster.aborted(shard.number);
            }
        }
    }

    /// Gives partitions to members: those that have no owner, and some others.
    fn rebalance(&mut self) {
        let members: Vec<usize> =
            (0..self.instances.len()).filter(|&at| self.instances[at].is_some()).collect();
        if members.is_empty() {
            return;
        }
        for number in 0..self.partitions() {
            let owner = self.log.cluster().owners[number];
            let number = i32::try_from(number).unwrap();
            let holder = members.iter().copied().find(|&at| {
                let shard = self.instances[at].as_ref().and_then(|instance| instance.shards.get(&number));
                shard.is_some_and(|shard| Some(shard.token) == owner)
            });
            if holder.is_some() && !self.random.percent(40) {
                continue;
            }
            let to = self.random.pick(&members);
            if let Some(from) = holder {
                self.revoke(from, number);
            }
            self.give(to, number);
        }
    }

    /// Takes a partition from a member: gracefully, or when it belongs to others already.
    fn revoke(&mut self, from: usize, number: i32) {
        let graceful = self.random.percent(70);
        self.note(format!("partition {number} leaves instance {from}, gracefully: {graceful}"));
        let Some(instance) = &mut self.instances[from] else { return };
        let token = instance.shards.get(&number).map(|shard| shard.token);
        if graceful {
            self.counts.snapshots += published(instance, number);
            instance.finish(number);
        } else {
            instance.shards.remove(&number);
            if number == 0 {
                instance.registry.set_rejecting(false);
            }
        }
        let mut cluster = self.log.cluster();
        if let Some(token) = token {
            cluster.believers.remove(&token);
        }
    }

    fn give(&mut self, to: usize, number: i32) {
        self.tokens += 1;
        self.counts.moves += 1;
        let token = self.tokens;
        let mut cluster = self.log.cluster();
        cluster.owners[usize::try_from(number).unwrap()] = Some(token);
        cluster.believers.insert(token);
        drop(cluster);
        if let Some(instance) = &mut self.instances[to] {
            instance.assign(number, token);
        }
        self.note(format!("partition {number} goes to instance {to} as {token}"));
    }

    /// A member is cut off from the group and does not know it.
    fn make_zombie(&mut self) {
        let at = self.random.below(self.instances.len());
        let Some(instance) = self.instances[at].take() else { return };
        self.note(format!(
            "instance {at} becomes a zombie with {:?}",
            instance.shards.keys().collect::<Vec<_>>()
        ));
        self.counts.zombies += 1;
        for &number in instance.shards.keys() {
            self.log.cluster().owners[usize::try_from(number).unwrap()] = None;
        }
        self.zombies.push(instance);
        self.start(at);
        self.rebalance();
    }

    /// Files of snapshots are lost or altered. Where the journal no longer reaches back to the start, what is left
    /// must do: nobody could recover otherwise.
    fn damage(&mut self) {
        let number = self.random.below(self.partitions());
        let partition = i32::try_from(number).unwrap();
        if !self.plan.keeps_journal {
            // A live shard would go on after the damaged one.
            let owner = self.log.cluster().owners[number];
            let at = self.instances.iter().position(|instance| {
                let shard = instance.as_ref().and_then(|instance| instance.shards.get(&partition));
                shard.is_some_and(|shard| Some(shard.token) == owner)
            });
            at.into_iter().for_each(|at| self.kill_alone(at));
            if self.any_live(partition) {
                return;
            }
        }
        let mut random = self.random.fork();
        let Some((path, before)) = self.objects.damage(partition, &mut random) else { return };
        if !self.plan.keeps_journal && !self.is_recoverable(partition) {
            self.objects.set(&path, Some(before));
            return;
        }
        self.note(format!("{path} is damaged"));
        self.counts.damages += 1;
    }

    fn kill_alone(&mut self, at: usize) {
        if let Some(instance) = self.instances[at].take() {
            self.counts.crashes += 1;
            self.note(format!("instance {at} dies and its disk suffers"));
            self.bury(instance);
        }
    }

    fn any_live(&self, partition: i32) -> bool {
        let instances = self.instances.iter().flatten().chain(&self.zombies);
        instances.filter_map(|instance| instance.shards.get(&partition)).count() > 0
    }

    /// Whether the shard can be recovered from what is left.
    pub(crate) fn is_recoverable(&self, partition: i32) -> bool {
        let (is_whole, digests): (bool, Vec<(i64, Vec<u8>)>) = {
            let mut cluster = self.log.cluster();
            let input_start = cluster.transactions[usize::try_from(partition).unwrap()].start;
            let journal = cluster.stream(Topic::Journal, partition);
            let all = journal.visible(0, usize::MAX).into_iter();
            let digests = all.map(|record| (record.offset, record.value.map(Vec::from).unwrap_or_default()));
            (journal.start == 0 && input_start == 0, digests.collect())
        };
        if is_whole {
            return true;
        }
        self.objects.heal();
        let manifests = self.store.manifests(partition).unwrap();
        manifests.iter().any(|manifest| {
            let at = manifest.journal_offset;
            let stated = digests.iter().find(|(offset, _)| *offset == at);
            let ends = format!(r#","digest":"{}"}}"#, manifest.digest);
            stated.is_some_and(|(_, value)| value.ends_with(ends.as_bytes()))
                && self.store.load(manifest).is_ok()
        })
    }

    /// Superseded mandates vanish, and tombstones that everybody has read.
    fn compact(&mut self) {
        let all = self.instances.iter().flatten().chain(&self.zombies);
        let read: Vec<Vec<i64>> = all.map(Instance::mandates_next).collect();
        let thorough = self.random.percent(50);
        let mut cluster = self.log.cluster();
        for (number, stream) in cluster.mandates.iter_mut().enumerate() {
            let read_to = read.iter().map(|next| next[number]).min().unwrap_or(i64::MAX);
            // The cleaner works on the older part of the log, all of it.
            let cleaned =
                if thorough { stream.records.len() } else { self.random.below(stream.records.len() + 1) };
            for at in 0..cleaned {
                let (key, offset) = (stream.records[at].record.key.clone(), stream.records[at].record.offset);
                let later = &stream.records[at + 1..cleaned];
                let superseded = key.is_some() && later.iter().any(|later| later.record.key == key);
                // Tombstones stay for as long as somebody may be reading.
                let tombstone = key.is_some() && stream.records[at].record.value.is_none();
                stream.records[at].compacted |= superseded || tombstone && offset < read_to;
            }
        }
        drop(cluster);
        self.note("the mandates are compacted");
    }

    /// One step of somebody.
    fn step(&mut self, slow: usize) -> Result<(), String> {
        if !self.zombies.is_empty() && self.random.percent(20) {
            return self.step_zombie();
        }
        let at = self.random.below(self.instances.len());
        let slow = self.random.percent(slow);
        let Some(instance) = &mut self.instances[at] else { return Ok(()) };
        if self.random.percent(self.plan.reading) {
            instance.read_mandates(1 + self.random.below(10));
        }
        let numbers: Vec<i32> = instance.shards.keys().copied().collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let number = self.random.pick(&numbers);
        let before = published(instance, number);
        let step = instance.step(number, &mut self.random, slow);
        self.counts.snapshots += published(instance, number).saturating_sub(before);
        match step {
            Ok(Step::Lost) => {
                self.counts.losses += 1;
                self.note(format!("partition {number} of instance {at} is lost to an error"));
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(format!("partition {number} of instance {at} halts: {error}")),
        }
    }

    /// A zombie decides, tries to commit, publishes what nobody must believe, or wakes.
    fn step_zombie(&mut self) -> Result<(), String> {
        let at = self.random.below(self.zombies.len());
        let wakes = self.random.percent(10);
        if wakes {
            let zombie = self.zombies.remove(at);
            self.note("a zombie is gone");
            self.bury(zombie);
            return Ok(());
        }
        let zombie = &mut self.zombies[at];
        let numbers: Vec<i32> = zombie.shards.keys().copied().collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let number = self.random.pick(&numbers);
        if self.random.percent(30)
            && let Phase::Live(live) = &zombie.shards[&number].phase
        {
            let offset = pretended(&self.log, number, &mut self.random);
            let before = self.objects.all();
            drop(zombie.publish_unchecked(live, number, offset));
            before.into_iter().for_each(|(path, content)| self.objects.set(&path, Some(content)));
            self.note(format!("a zombie publishes its state of partition {number} as of offset {offset}"));
            return Ok(());
        }
        match zombie.step(number, &mut self.random, false) {
            Ok(Step::Lost) => {
                // It may go on trying, which fences the owner, or see that it is not wanted any more.
                if self.random.percent(60) {
                    let shard = zombie.shards.remove(&number);
                    let token = shard.map(|shard| shard.token).unwrap_or_default();
                    self.log.cluster().believers.remove(&token);
                }
                Ok(())
            }
            Ok(_) => Ok(()),
            // Its successor has let go of what it still wants.
            Err(ServiceError::Log(LogError::Gone { .. })) => {
                zombie.shards.remove(&number);
                Ok(())
            }
            Err(error) => Err(format!("partition {number} of a zombie halts: {error}")),
        }
    }

    /// Lets everything come to rest with nothing going wrong.
    fn settle(&mut self) -> Result<(), String> {
        self.heal();
        self.log.cluster().read_fails_in = None;
        self.log.cluster().outcome = Outcome::Done;
        for zombie in std::mem::take(&mut self.zombies) {
            self.bury(zombie);
        }
        for at in 0..self.instances.len() {
            if self.instances[at].is_none() && (at == 0 || self.random.percent(50)) {
                self.start(at);
            }
        }
        self.note("settling");
        self.rebalance();
        // Looking may ask for the mandates to be read again, so a single look is not enough.
        let mut looks = 0;
        for _ in 0..SETTLE_STEPS {
            self.counts.steps += 1;
            for instance in self.instances.iter_mut().flatten() {
                instance.read_mandates(50);
            }
            self.step(0)?;
            if self.counts.steps.is_multiple_of(16) {
                looks = if self.is_settled() { looks + 1 } else { 0 };
                if looks == 2 {
                    return Ok(());
                }
            }
        }
        Err("it does not settle".to_owned())
    }

    fn is_settled(&self) -> bool {
        (0..self.partitions()).all(|number| {
            let Some((instance, live)) = self.live(number) else { return false };
            let cluster = self.log.cluster();
            let read = cluster.transactions[number].visible(live.keeper.position(), 1).is_empty();
            let ends = cluster.mandates.iter().map(|stream| stream.end);
            let mandates = ends.zip(instance.mandates_next()).all(|(end, next)| next >= end);
            drop(cluster);
            read && mandates && !live.is_behind() && !live.keeper.is_due(&instance.registry)
        })
    }

    /// The live shard of a partition.
    #[must_use]
    pub fn live(&self, number: usize) -> Option<(&Instance, &Live)> {
        let owner = self.log.cluster().owners[number];
        let number = i32::try_from(number).unwrap();
        self.instances.iter().flatten().find_map(|instance| {
            let shard = instance.shards.get(&number).filter(|shard| Some(shard.token) == owner)?;
            match &shard.phase {
                Phase::Live(live) => Some((instance, &**live)),
                _ => None,
            }
        })
    }

    /// A token that owns the partition from now on.
    pub fn take_over(&mut self, number: usize) -> u64 {
        self.tokens += 1;
        let mut cluster = self.log.cluster();
        cluster.owners[number] = Some(self.tokens);
        cluster.believers.insert(self.tokens);
        self.tokens
    }
}

/// Some offset of the journal, now and then that of a batch entry.
fn pretended(log: &SimLog, number: i32, random: &mut Random) -> i64 {
    let mut cluster = log.cluster();
    let journal = cluster.stream(Topic::Journal, number);
    let (start, end) = (journal.start, journal.end);
    let last = journal.records.last().map_or(0, |stored| stored.record.offset);
    random.pick(&[last, end, start, end + 2])
}

fn published(instance: &Instance, number: i32) -> u64 {
    match instance.shards.get(&number).map(|shard| &shard.phase) {
        Some(Phase::Live(live)) => live.published,
        _ => 0,
    }
}

/// One of a few ways of deciding.
fn configuration(random: &mut Random) -> Config {
    let mut config = Config::default();
    // Nobody else runs while a shard waits.
    config.time.mandate_wait = Span(0);
    let decimal = |text: &str| Plain(Amount::parse(text).unwrap());
    config.currency_rates.insert(CurrencyCode(Currency(*b"EUR")), decimal("1.08"));
    match random.below(8) {
        0 => config.detectors.burst.min_count = 3,
        1 => config.time.max_lateness = Span::seconds(10),
        2 => config.time.dedup_horizon = Span::minutes(10),
        3 => config.risk.weights = serde_json::from_str(r#"{"burst": "9.5", "scope": "1"}"#).unwrap(),
        4 => {
            config.bounds.agent_payments_max = 3;
            config.bounds.user_payments_max = 5;
            config.bounds.remembered_ids_max = 20;
            config.bounds.use_merchants_max = 1;
        }
        5 => config.detectors.geo_stationarity.radius_km = 1.0,
        _ => {}
    }
    assert_eq!(config.check(), None);
    config
}

/// Changed mandates that a batch without records takes in.
pub(crate) const MANDATES_MAX: usize = 3;

fn settings(config: Config, partitioner: Partitioner) -> Settings {
    Settings {
        config,
        transactions_topic: Some(TRANSACTIONS.to_owned()),
        mandates_topic: Some(MANDATES.to_owned()),
        partitioner,
        start: Start::Earliest,
        batch_records_max: 25,
        batch_mandates: Portion { mandates: MANDATES_MAX, ..Portion::WHOLE },
        registry_mandates_max: 10_000,
        snapshots_url: String::new(),
        // Whenever it is asked for.
        snapshots_every: Duration::ZERO,
        seed: 0,
    }
}
