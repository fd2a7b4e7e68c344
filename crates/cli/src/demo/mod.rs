//! `weir demo`: the service at work, with nothing to install.
//!
//! A synthetic stream in which some payments are attacks goes over HTTP to a service of the demo's own, on the
//! embedded log in a temporary folder. Nothing that the service is told says which payments those are; only at the
//! end are its decisions compared with the labels.

mod answers;
mod board;
mod client;
mod feed;
mod stop;
mod view;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;
use weir_sim::evaluate::Share;

use crate::args::{DemoArgs, LogFormat};
use crate::config::{Config, Override};
use crate::configured;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::serve::{Service, start_logging};
use answers::Ledger;
use board::{Board, Floors};
use client::Client;
use feed::{Feed, Stream};
use stop::Stop;
use view::View;

/// How often the transactions that are due are sent.
const TICK: Duration = Duration::from_millis(50);
/// How often risk profiles are asked for, and at most how many of agents of which there is news.
const ASKED_EVERY: Duration = Duration::from_secs(1);
const ASKED_MAX: usize = 16;

/// Plays the demo to its end, or until somebody has seen enough.
pub(crate) fn run(args: &DemoArgs, screen: &Screen) -> Result<ExitCode, Failure> {
    let stream = Stream::generate(args.transactions, args.seed)?;
    let stop = Stop::on_signals()?;
    let mut folder =
        TempDir::with_prefix("weir-demo-").context("cannot make a temporary folder; set TMPDIR")?;
    let config = config(args, folder.path())?;
    start_logging(LogFormat::Human, "warn")?;
    let floors = Floors::of(&config.engine)?;
    folder.disable_cleanup(args.keep);
    let service = Service::start(&config)?;
    let address = service.http_address();
    let mut show = Show {
        feed: Feed::new(&stream, Client::new(address, stop.clone())),
        board: Board::new(format!("http://{address}"), stream.len(), floors),
        ledger: Ledger::default(),
        view: View::new(args.plain, screen),
        asked: Duration::ZERO,
    };
    let played = show.play(args.rate, &stop);
    let Show { feed, board, ledger, view, .. } = show;
    let elapsed = view.elapsed();
    // The terminal is as it was before anything else is told, and the service waits for no connection.
    drop((view, feed));
    let stopped = service.stop();
    if args.keep {
        keep(folder.path(), &stream, &ledger)?;
        screen.print(&format!("kept in {}", folder.path().display()))?;
    } else {
        folder.close().context("cannot remove the temporary folder")?;
    }
    if let Some(code) = stop.exit_code() {
        return Ok(code);
    }
    // Why the service has stopped says more than that it cannot be reached.
    stopped?;
    played?;
    screen.print(&summary(&stream, &board, &ledger, elapsed)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What was asked for, with everything that the service keeps in this folder.
fn config(args: &DemoArgs, folder: &Path) -> Result<Config, Failure> {
    let data = folder.join("data").display().to_string();
    let snapshots = format!("file:{data}/snapshots");
    let own = [
        ("log", "embedded"),
        ("data_dir", &data),
        ("snapshots.url", &snapshots),
        ("http.listen", "127.0.0.1:0"),
        ("http.token_file", ""),
    ];
    configured(&args.config, own.map(|(key, value)| Override::flag("weir demo", key, value)).into())
}

/// The demo under way.
struct Show<'a> {
    feed: Feed<'a>,
    board: Board,
    ledger: Ledger,
    view: View<'a>,
    /// When profiles were last asked for, since the beginning.
    asked: Duration,
}

impl Show<'_> {
    /// Sends the stream at this rate and shows what comes of it, until the end or until told to stop.
    fn play(&mut self, rate: u32, stop: &Stop) -> Result<(), Failure> {
        self.feed.wait_until_ready(stop)?;
        self.view.begin(&self.board)?;
        while !self.feed.is_done() && !stop.is_set() {
            let due = self.view.elapsed().as_micros() * u128::from(rate) / 1_000_000;
            let due = usize::try_from(due).unwrap_or(usize::MAX).saturating_add(1);
            while let Some(answered) = self.feed.send(due)? {
                let mut first = Vec::new();
                self.ledger.enter(&answered, |decision| first.extend(self.board.decided(decision)))?;
                self.view.tell(&first)?;
                self.refresh()?;
                if stop.is_set() {
                    return Ok(());
                }
            }
            self.refresh()?;
            thread::sleep(TICK);
        }
        if stop.is_set() { Ok(()) } else { self.ask(usize::MAX) }
    }

    /// Brings what is shown up to date, as often as it is worth it.
    fn refresh(&mut self) -> Result<(), Failure> {
        let elapsed = self.view.elapsed();
        if elapsed >= self.asked + ASKED_EVERY {
            self.asked = elapsed;
            self.ask(ASKED_MAX)?;
        }
        self.view.refresh(&self.board, &self.ledger)
    }

    /// Asks for the profiles of the agents that matter.
    fn ask(&mut self, max: usize) -> Result<(), Failure> {
        for agent in self.board.wanted(max) {
            if let Some(profile) = self.feed.profile(&agent)? {
                self.board.standing(agent, profile);
            }
        }
        Ok(())
    }
}

/// Keeps what went in and what came out beside the service's own folder.
fn keep(folder: &Path, stream: &Stream, ledger: &Ledger) -> Result<(), Failure> {
    for (name, text) in [
        ("transactions", &stream.transactions),
        ("mandates", &stream.mandates),
        ("labels", &stream.labels),
        ("decisions", &ledger.decisions),
    ] {
        let path = folder.join(format!("{name}.ndjson"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What it came to: decisions and labels side by side, and every transaction accounted for.
fn summary(stream: &Stream, board: &Board, ledger: &Ledger, elapsed: Duration) -> Result<String, Failure> {
    let report = weir_sim::evaluate(ledger.decisions.as_slice(), stream.labels.as_slice())?;
    let Ledger { sent, decided, duplicates, rejects, .. } = ledger;
    let caught = report.groups.iter().map(|group| {
        let Share { count, of, .. } = group.caught;
        format!("{count} of {of} {}", group.attack.replace('_', " "))
    });
    let caught = match caught.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "there were none".to_owned(),
        caught => caught,
    };
    let (honest, status) = (&report.honest, board.status(ledger, elapsed));
    Ok(format!(
        "\nThe agents at most risk:\n{}\n\nDecisions against labels, as `weir evaluate` compares them:\n\n{report}\n\
         {status}\n\
         {sent} sent = {decided} decisions + {duplicates} duplicates + {rejects} rejects\n\
         Attacks caught: {caught}. Honest payments blocked: {} of {}, challenged or held: {}.\n\n\
         `weir run` is the service that this was, `weir replay` decides a recorded stream, `weir generate` makes one.",
        board.agents(),
        honest.blocked.count,
        honest.payments,
        honest.challenged_or_held.count,
    ))
}
