//! Checkpoints: what changed since the last one, encoded slice by slice while the stream goes on.
//!
//! Beginning one moves a few sets of bits and takes what the intake remembered since; the rows are encoded
//! in slices between batches of the stream. What is about to change before its turn is encoded first, so
//! that a checkpoint is exactly the state at its beginning. Until it is said to be kept, what was in it
//! will be in the next as well.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use crate::intake::Intake;
use crate::packed::Keep;
use crate::repeats::Remembered;
use crate::rows::{Arrived, Stored, repeats_batch};
use crate::shard::Shard;
use crate::table::Table;
use crate::tracked::Tracked;

/// A part of a checkpoint: batches by table.
#[derive(Debug, Clone, Default)]
pub struct Slice {
    /// To be kept in this order.
    pub batches: Vec<(&'static str, RecordBatch)>,
    /// Whether the checkpoint has no more.
    pub finished: bool,
}

/// The part of the latest checkpoint that is not by table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checkpoint {
    /// Watermark at its beginning; `None` when nothing more comes.
    arrived: Option<Arrived>,
    /// Remembered since the last checkpoint that was kept, in pieces.
    repeats: Vec<Vec<Remembered>>,
    /// How many pieces are encoded.
    repeats_done: usize,
}

impl Shard {
    /// Notes from now on what changes, for checkpoints of it; to be called on a new or restored shard,
    /// before anything else, as [`Intake::track_changes`] on its intake. Without it, as in a replay,
    /// nothing is noted.
    pub fn track_changes(&mut self) {
        self.keyed.users.track();
        self.keyed.agents.track();
        self.mandates.table.track();
        self.keyed.ledgers.track();
    }

    /// Begins a checkpoint: of everything that changed since the last one that was kept, as it is now. One
    /// that still runs is given up.
    pub fn begin_checkpoint(&mut self, intake: &mut Intake) {
        self.each_tracked(&mut Tracked::begin);
        let arrived = intake.arrived();
        let Checkpoint { repeats, .. } = std::mem::take(&mut self.checkpoint);
        let fresh = repeats.into_iter().chain(intake.repeats.take_fresh());
        let in_force =
            |piece: &Vec<Remembered>| piece.iter().any(|known| known.time_us >= arrived.oldest_accepted_us);
        let repeats = fresh.filter(in_force).collect();
        self.checkpoint = Checkpoint { arrived: Some(arrived), repeats, repeats_done: 0 };
    }

    /// Encodes about `rows` more rows of the running checkpoint.
    ///
    /// # Errors
    /// When Arrow refuses a batch, which means that memory ran out.
    pub fn continue_checkpoint(&mut self, rows: usize) -> Result<Slice, ArrowError> {
        let Self { keyed, mandates, checkpoint, .. } = self;
        let mut slice = Slice::default();
        let mut left = rows;
        let mut waiting = 0;
        waiting += encode(&mut keyed.users, &mut left, &mut slice)?;
        waiting += encode(&mut keyed.agents, &mut left, &mut slice)?;
        waiting += encode(&mut mandates.table, &mut left, &mut slice)?;
        waiting += encode(&mut keyed.ledgers, &mut left, &mut slice)?;
        while left > 0 {
            let Some(piece) = checkpoint.repeats.get(checkpoint.repeats_done) else { break };
            slice.batches.push(("repeats", repeats_batch(piece)?));
            checkpoint.repeats_done += 1;
            left = left.saturating_sub(piece.len());
        }
        slice.finished = waiting == 0 && checkpoint.repeats_done == checkpoint.repeats.len();
        if slice.finished
            && let Some(arrived) = checkpoint.arrived.take()
        {
            slice.batches.push(("watermark", arrived.batch()?));
        }
        Ok(slice)
    }

    /// The latest checkpoint, which has finished, is kept for good, and the next will build on it. Where
    /// another has begun since, nothing changes: that one has all of it too.
    pub fn checkpoint_kept(&mut self) {
        if self.checkpoint.arrived.is_none() {
            self.each_tracked(&mut Tracked::kept);
            self.checkpoint = Checkpoint::default();
        }
    }

    fn each_tracked(&mut self, work: &mut dyn FnMut(&mut Tracked)) {
        let Self { keyed, mandates, .. } = self;
        keyed.users.tracked().into_iter().for_each(|(tracked, _)| work(tracked));
        keyed.agents.tracked().into_iter().for_each(|(tracked, _)| work(tracked));
        mandates.table.tracked().into_iter().for_each(|(tracked, _)| work(tracked));
        keyed.ledgers.tracked().into_iter().for_each(|(tracked, _)| work(tracked));
    }
}

/// Encodes at most `left` rows of a table; how many of its rows are still to come.
fn encode<K: Keep>(table: &mut Table<K>, left: &mut usize, slice: &mut Slice) -> Result<usize, ArrowError> {
    let Some((tracked, kept)) = table.tracked() else { return Ok(0) };
    *left -= tracked.encode(kept, *left);
    let name = K::Entity::TABLE;
    slice.batches.extend(tracked.batch(name)?.map(|batch| (name, batch)));
    Ok(tracked.left())
}
