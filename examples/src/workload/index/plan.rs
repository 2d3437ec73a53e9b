//! The sizes of a run.

use crate::cli::JobArgs;

/// How much, how often, how many.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Query threads; the writer comes on top.
    pub(crate) readers: usize,
    /// Text that is in the index in the steady state, in bytes.
    pub(crate) live_text_bytes: u64,
    /// Text that comes (and goes) in one batch, in bytes.
    pub(crate) batch_text_bytes: u64,
    /// Batches of coming and going after the index is full.
    pub(crate) churn_batches: u64,
    pub(crate) queries_per_batch: usize,
}

impl Plan {
    pub(crate) fn new(job: &JobArgs) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the factor is from 0.001 to 1000"
        )]
        let scaled = |bytes: f64| (bytes * job.scale) as u64;
        Self {
            seed: job.seed,
            readers: job.threads as usize,
            live_text_bytes: scaled(LIVE_TEXT_BYTES),
            batch_text_bytes: scaled(BATCH_TEXT_BYTES).max(8 << 10),
            churn_batches: job.rounds.map_or(CHURN_BATCHES, u64::from),
            queries_per_batch: QUERIES_PER_BATCH,
        }
    }

    /// Batches until the index is full.
    pub(crate) fn fill_batches(&self) -> u64 {
        self.live_text_bytes.div_ceil(self.batch_text_bytes)
    }

    pub(crate) fn batches(&self) -> u64 {
        self.fill_batches() + self.churn_batches
    }

    pub(crate) fn default_heap_mib(&self) -> u32 {
        u32::try_from(((self.live_text_bytes * HEAP_PER_TEXT) >> 20) + 16).unwrap_or(u32::MAX)
    }
}

const LIVE_TEXT_BYTES: f64 = 88.0 * 1024.0 * 1024.0;
const BATCH_TEXT_BYTES: f64 = 1024.0 * 1024.0;
const CHURN_BATCHES: u64 = 400;
const QUERIES_PER_BATCH: usize = 250;

/// A heap is about this many times as large as the text in the index: twice the live data.
const HEAP_PER_TEXT: u64 = 4;
