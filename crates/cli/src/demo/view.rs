//! Where things are shown: a board on a terminal, else lines.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use super::answers::Ledger;
use super::board::Board;
use crate::failure::Failure;
use crate::screen::Screen;

/// How often the board is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(200);
/// How often the state of things is printed where there is no board.
const PRINTED_EVERY: Duration = Duration::from_secs(1);

/// Begins the terminal's other screen: what was there comes back afterwards. Without a cursor, and with long
/// lines cut at the right edge by the terminal, which alone knows where that is.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// Undoes it.
const END: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// To the upper left; to the end of the line; to the end of the screen.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K\n";
const REST_OF_SCREEN: &str = "\x1b[J";

/// What somebody looks at.
pub(super) struct View<'a> {
    screen: &'a Screen,
    live: bool,
    color: bool,
    begun: Instant,
    /// When it was last drawn, since the beginning.
    drawn: Duration,
    /// Whether the terminal has to be put back.
    shown: bool,
}

impl<'a> View<'a> {
    pub(super) fn new(plain: bool, screen: &'a Screen) -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let live = !plain && io::stdout().is_terminal() && !dumb;
        let color = !is_set("NO_COLOR");
        Self { screen, live, color, begun: Instant::now(), drawn: Duration::ZERO, shown: false }
    }

    /// How long it has been going.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Takes the terminal, where there is one.
    pub(super) fn begin(&mut self, board: &Board) -> Result<(), Failure> {
        self.begun = Instant::now();
        self.shown = self.live;
        if self.live { self.screen.say(BEGIN) } else { self.screen.say(&board.opening()) }
    }

    /// Tells of episodes that have begun; the board shows them anyway.
    pub(super) fn tell(&self, first: &[String]) -> Result<(), Failure> {
        if self.live { Ok(()) } else { first.iter().try_for_each(|line| self.screen.say(line)) }
    }

    /// Shows how things stand, as often as it can be read.
    pub(super) fn refresh(&mut self, board: &Board, ledger: &Ledger) -> Result<(), Failure> {
        let elapsed = self.elapsed();
        if elapsed < self.drawn + if self.live { DRAWN_EVERY } else { PRINTED_EVERY } {
            return Ok(());
        }
        self.drawn = elapsed;
        if !self.live {
            return self.screen.say(&board.status(ledger, elapsed));
        }
        let lines = board.render(ledger, elapsed, self.color).replace('\n', REST_OF_LINE);
        self.screen.say(&format!("{HOME}{lines}{REST_OF_LINE}{REST_OF_SCREEN}"))
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        if self.shown {
            // There is nobody left to tell that it failed.
            let _ = self.screen.say(END);
        }
    }
}
