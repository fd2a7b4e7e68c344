//! What happens to the instances and to the broker, in a random order at random moments.

use std::fmt;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rdkafka::producer::{BaseProducer, Producer as _};

use super::Args;
use super::instances::Instances;
use super::load::Load;
use super::monitor::Monitor;
use crate::kafka::client;
use crate::process;
use crate::random::Random;

/// How long progress is waited for before that is a finding.
const PROGRESS: Duration = Duration::from_secs(60);
/// Records of a burst: a second of a hundred times the rate, within bounds.
const BURST_MAX: u64 = 500_000;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// SIGKILL to a random instance, and a new one soon after.
    Kill,
    /// SIGTERM to one instance after the other, each started again.
    Rolling,
    /// Two instances, three, one, two.
    Scale,
    /// SIGSTOP for longer than the session lasts, then SIGCONT: it still thinks that it owns its partitions.
    Freeze,
    /// A stranger takes a partition's transactional id over and does nothing with it: the owner's commit fails, and it
    /// has to recover and go on, since the group gives the partition to nobody else.
    Fence,
    /// A hundred times the rate.
    Burst,
    /// The broker shuts down and starts again; at times an instance is killed in between.
    BrokerStop,
    /// The same with a broker that is killed.
    BrokerKill,
    /// The broker stands still for some seconds.
    BrokerPause,
}

/// How often each happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    kills: usize,
    rolling: usize,
    scalings: usize,
    freezes: usize,
    fences: usize,
    bursts: usize,
    broker_stops: usize,
    broker_kills: usize,
    broker_pauses: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills, {} rolling restarts, {} times 2 to 3 to 1 to 2, {} frozen, {} fenced, {} bursts, broker: {} restarts, \
             {} kills, {} pauses",
            self.kills,
            self.rolling,
            self.scalings,
            self.freezes,
            self.fences,
            self.bursts,
            self.broker_stops,
            self.broker_kills,
            self.broker_pauses
        )
    }
}

/// The play.
pub(crate) struct Script<'a> {
    args: &'a Args,
    random: Random,
    instances: &'a mut Instances,
    load: &'a Load,
    monitor: &'a Monitor,
    counts: Counts,
    findings: Vec<String>,
    begun: Instant,
}

impl<'a> Script<'a> {
    /// Nothing has happened yet.
    pub(crate) fn new(
        args: &'a Args,
        random: Random,
        instances: &'a mut Instances,
        load: &'a Load,
        monitor: &'a Monitor,
    ) -> Self {
        let (counts, findings, begun) = (Counts::default(), Vec::new(), Instant::now());
        Self { args, random, instances, load, monitor, counts, findings, begun }
    }

    /// What happened, and what was wrong meanwhile.
    pub(crate) fn finish(self) -> (Counts, Vec<String>) {
        (self.counts, self.findings)
    }

    /// Lets everything happen, and waits in the end until the instances go on.
    pub(crate) fn play(&mut self) -> Result<()> {
        self.progress("after the start")?;
        for action in self.actions() {
            self.load.check()?;
            if action == Action::Kill && self.counts.kills >= self.args.kills {
                // Some were killed while the broker was away.
                continue;
            }
            self.act(action)?;
            self.tell(action);
            self.pause(action)?;
            let ended = self.instances.restart_ended()?;
            self.findings.extend(ended);
        }
        while self.instances.len() > 2 {
            self.stop_one()?;
        }
        self.progress("in the end")
    }

    /// Everything that is to happen, in a random order.
    fn actions(&mut self) -> Vec<Action> {
        let kills = self.args.kills;
        let several = |every: usize| kills.div_ceil(every);
        let mut actions = vec![Action::Kill; kills];
        actions.extend(vec![Action::Rolling; several(15)]);
        actions.extend(vec![Action::Scale; several(15)]);
        actions.extend(vec![Action::Burst; several(25)]);
        actions.extend(vec![Action::Freeze; kills / 10]);
        actions.extend(vec![Action::Fence; several(10)]);
        if self.args.broker_command.is_some() {
            actions.extend(vec![Action::BrokerStop; several(25)]);
            actions.extend(vec![Action::BrokerKill; kills / 20]);
            actions.extend(vec![Action::BrokerPause; several(25)]);
        } else {
            println!("the broker is not ours: it is neither stopped nor killed");
        }
        self.random.shuffle(&mut actions);
        actions
    }

    fn tell(&self, action: Action) {
        println!(
            "[{:6.1} s] {:<12} {} kills, {} instances, {} sent, {} committed, greatest lag {}",
            self.begun.elapsed().as_secs_f64(),
            format!("{action:?}"),
            self.counts.kills,
            self.instances.len(),
            self.load.sent(),
            self.monitor.committed(),
            self.monitor.lag_max(),
        );
    }

    /// At times at once, so that recoveries are hit; at times late enough that there is something to lose.
    fn pause(&mut self, action: Action) -> Result<()> {
        match self.random.below(4) {
            0 => sleep(self.random.millis(20..800)),
            1 => sleep(self.random.millis(800..4_000)),
            _ => {
                self.progress(&format!("after {action:?}"))?;
                sleep(self.random.millis(0..1_000));
            }
        }
        Ok(())
    }

    /// Waits until the group has committed something more.
    fn progress(&mut self, when: &str) -> Result<()> {
        let before = self.monitor.committed();
        let begun = Instant::now();
        while self.monitor.committed() <= before {
            if begun.elapsed() > PROGRESS {
                self.findings.push(format!("nothing was committed for {} s {when}", PROGRESS.as_secs()));
                println!("nothing is committed {when}");
                return Ok(());
            }
            let ended = self.instances.restart_ended()?;
            self.findings.extend(ended);
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<()> {
        match action {
            Action::Kill => self.kill(),
            Action::Rolling => self.rolling(),
            Action::Scale => self.scale(),
            Action::Freeze => self.freeze(),
            Action::Fence => self.fence(),
            Action::Burst => {
                self.counts.bursts += 1;
                self.load.burst((self.args.rate * 100).min(BURST_MAX));
                Ok(())
            }
            Action::BrokerStop => {
                self.counts.broker_stops += 1;
                self.broker_away("stop")
            }
            Action::BrokerKill => {
                self.counts.broker_kills += 1;
                self.broker_away("kill")
            }
            Action::BrokerPause => {
                self.counts.broker_pauses += 1;
                self.broker("pause")?;
                sleep(self.random.millis(1_000..6_000));
                self.broker("resume")
            }
        }
    }

    fn kill(&mut self) -> Result<()> {
        self.instances.kill(&mut self.random);
        self.counts.kills += 1;
        if self.random.one_in(2) {
            // Others take over meanwhile.
            sleep(self.random.millis(0..8_000));
        }
        self.instances.start()
    }

    fn stop_one(&mut self) -> Result<()> {
        let finding = self.instances.stop()?;
        self.findings.extend(finding);
        Ok(())
    }

    fn rolling(&mut self) -> Result<()> {
        self.counts.rolling += 1;
        for _ in 0..self.instances.len() {
            self.stop_one()?;
            self.instances.start()?;
            sleep(self.random.millis(100..2_000));
        }
        Ok(())
    }

    fn scale(&mut self) -> Result<()> {
        self.counts.scalings += 1;
        self.instances.start()?;
        self.progress("with three instances")?;
        sleep(self.random.millis(0..3_000));
        while self.instances.len() > 1 {
            self.stop_one()?;
        }
        self.progress("with one instance")?;
        sleep(self.random.millis(0..3_000));
        self.instances.start()
    }

    fn freeze(&mut self) -> Result<()> {
        self.counts.freezes += 1;
        self.instances.signal("STOP")?;
        sleep(self.random.millis(7_000..12_000));
        self.instances.signal("CONT")
    }

    fn fence(&mut self) -> Result<()> {
        self.counts.fences += 1;
        let partition = self.random.below(usize::try_from(self.args.partitions)?);
        let partition = i32::try_from(partition)?;
        // Its owner is at work.
        self.moves_on(partition, "before it was fenced")?;
        let id = format!("{}-{partition}", self.instances.group());
        let stranger: BaseProducer =
            client(&self.args.brokers).set("transactional.id", id).create().context("producer")?;
        if let Err(error) = stranger.init_transactions(Duration::from_secs(10)) {
            // A broker that has just come back may not know its transactions yet.
            println!("nobody was fenced: {error}");
            return Ok(());
        }
        drop(stranger);
        self.moves_on(partition, "after it was fenced")
    }

    /// Waits until something more was committed of a partition, to which records come all the time.
    fn moves_on(&mut self, partition: i32, when: &str) -> Result<()> {
        let before = self.monitor.position(partition);
        let begun = Instant::now();
        while self.monitor.position(partition) <= before {
            if begun.elapsed() > PROGRESS {
                let seconds = PROGRESS.as_secs();
                self.findings
                    .push(format!("nothing was committed of partition {partition} for {seconds} s {when}"));
                return Ok(());
            }
            let ended = self.instances.restart_ended()?;
            self.findings.extend(ended);
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn broker_away(&mut self, how: &str) -> Result<()> {
        self.broker(how)?;
        sleep(self.random.millis(200..3_000));
        let killed = self.random.one_in(2);
        if killed {
            self.instances.kill(&mut self.random);
            self.counts.kills += 1;
        }
        sleep(self.random.millis(200..3_000));
        self.broker("start")?;
        if killed { self.instances.start() } else { Ok(()) }
    }

    fn broker(&self, word: &str) -> Result<()> {
        let words = self.args.broker_command.as_deref().context("no --broker-command")?;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{words} {word}")]);
        process::output(&mut command).map(drop)
    }
}
