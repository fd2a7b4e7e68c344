//! The calls of librdkafka that its safe binding lacks: records and messages in batches, queues per partition.
#![allow(unsafe_code, reason = "the C library's batch calls; every other module of the crate is safe")]

use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::Duration;
use std::{mem, ptr, slice};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::Producer as _;
use rdkafka_sys as sys;
use weir_log::{LogError, Record, Records};

use crate::context::Consumer;
use crate::produce::Producer;

/// More records than this are not taken at once, whatever the caller asks for.
const MOST: usize = 100_000;

/// Tells the C library's allocator to keep what is given back: the client allocates and frees tens of megabytes per
/// transaction, and giving them to the system each time costs a quarter of its rate. No effect elsewhere than with
/// glibc.
pub(crate) fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt sets parameters of the allocator and may be called at any time; a value that it does not take
    // changes nothing.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TOP_PAD, 16 << 20);
    }
}

/// What is said of a name that C cannot take.
fn name(text: &str) -> Result<CString, LogError> {
    CString::new(text).map_err(|_| LogError::Refused(format!("{text:?} has a zero byte")))
}

/// A duration as the C library takes it.
fn millis(wait: Duration) -> i32 {
    i32::try_from(wait.as_millis()).unwrap_or(i32::MAX)
}

/// A reference to one partition's queue, which is given back when dropped.
struct Handle(ptr::NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues are thread-safe; the handle is only a counted reference.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// The partition's queue.
    fn of(consumer: &Consumer, topic: &str, partition: i32) -> Result<Self, LogError> {
        let topic_name = name(topic)?;
        // SAFETY: the client is alive, the name ends with a zero byte and is copied by the call.
        let queue = unsafe {
            sys::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic_name.as_ptr(), partition)
        };
        let none = || LogError::Broken(format!("no queue for partition {partition} of {topic}"));
        ptr::NonNull::new(queue).map(Self).ok_or_else(none)
    }

    /// Sends what arrives here to another queue, or keeps it here. librdkafka remembers that this was asked for
    /// and does not redirect the queue when the partition is assigned.
    fn forward(&self, to: Option<&Self>) {
        let to = to.map_or(ptr::null_mut(), |queue| queue.0.as_ptr());
        // SAFETY: both queues are alive; the call takes a reference of its own to the second.
        unsafe { sys::rd_kafka_queue_forward(self.0.as_ptr(), to) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the reference is this handle's own, and given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// Keeps the partitions' records out of the consumer's own queue. To be called before they are assigned.
///
/// # Errors
/// When a partition has no queue.
pub(crate) fn split(consumer: &Consumer, topic: &str, partitions: &[i32]) -> Result<(), LogError> {
    partitions.iter().try_for_each(|&partition| {
        Handle::of(consumer, topic, partition)?.forward(None);
        Ok(())
    })
}

/// Something that a queue says besides records.
#[derive(Debug)]
pub(crate) enum Signal {
    /// The partition was read up to this offset.
    End(i32, i64),
    /// The partition cannot be read.
    Error(i32, Code, String),
}

/// A queue that records are taken from. It goes before its consumer: destroying that first would hang.
pub(crate) struct Queue {
    handle: Handle,
    consumer: Arc<Consumer>,
}

impl Queue {
    /// The queue of one partition.
    ///
    /// # Errors
    /// When the partition has none.
    pub(crate) fn partition(consumer: &Arc<Consumer>, topic: &str, partition: i32) -> Result<Self, LogError> {
        let handle = Handle::of(consumer, topic, partition)?;
        handle.forward(None);
        Ok(Self { handle, consumer: Arc::clone(consumer) })
    }

    /// One queue for several partitions. To be called before they are assigned.
    ///
    /// # Errors
    /// When a partition has none.
    pub(crate) fn merged(
        consumer: &Arc<Consumer>,
        topic: &str,
        partitions: &[i32],
    ) -> Result<Self, LogError> {
        // SAFETY: the client is alive.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let handle = ptr::NonNull::new(queue).map(Handle);
        let handle = handle.ok_or_else(|| LogError::Broken("no queue could be made".into()))?;
        for &partition in partitions {
            Handle::of(consumer, topic, partition)?.forward(Some(&handle));
        }
        Ok(Self { handle, consumer: Arc::clone(consumer) })
    }

    /// At most `max` records; the whole of `wait` is waited unless there are so many.
    pub(crate) fn consume(&self, max: usize, wait: Duration) -> (Batch, Vec<Signal>) {
        let max = max.min(MOST);
        let mut messages: Vec<*mut sys::rd_kafka_message_t> = Vec::with_capacity(max);
        // SAFETY: librdkafka writes at most `max` pointers, for which there is room, and says how many.
        let taken = unsafe {
            let queue = self.handle.0.as_ptr();
            sys::rd_kafka_consume_batch_queue(queue, millis(wait), messages.as_mut_ptr(), max)
        };
        // SAFETY: that many pointers were written; on an error, which is negative, none was.
        unsafe { messages.set_len(usize::try_from(taken).unwrap_or(0)) };
        let mut batch = Batch { messages, consumer: Arc::clone(&self.consumer) };
        let mut signals = Vec::new();
        batch.retain(|message| match signal(message) {
            Some(signal) => {
                signals.push(signal);
                false
            }
            None => true,
        });
        (batch, signals)
    }

    /// Waits for a first record, then at most `more` for others.
    pub(crate) fn gather(&self, max: usize, wait: Duration, more: Duration) -> (Batch, Vec<Signal>) {
        let (mut batch, mut signals) = self.consume(1, wait);
        if batch.is_empty() && signals.is_empty() {
            return (batch, signals);
        }
        let (mut rest, others) = self.consume(max.saturating_sub(batch.len()), more);
        batch.messages.append(&mut rest.messages);
        signals.extend(others);
        (batch, signals)
    }
}

/// What a message that is none says.
fn signal(message: &sys::rd_kafka_message_t) -> Option<Signal> {
    use sys::rd_kafka_resp_err_t as Error;
    match message.err {
        Error::RD_KAFKA_RESP_ERR_NO_ERROR => None,
        Error::RD_KAFKA_RESP_ERR__PARTITION_EOF => Some(Signal::End(message.partition, message.offset)),
        error => {
            let text = bytes(message.payload, message.len).unwrap_or_default();
            let text = String::from_utf8_lossy(text).into_owned();
            Some(Signal::Error(message.partition, error.into(), text))
        }
    }
}

/// Bytes that a message points to; for as long as the caller says, which is while it borrows the message.
fn bytes<'a>(start: *mut std::ffi::c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: librdkafka's keys and values are null or point to `len` bytes, which live as long as the message.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>().cast_const(), len) })
}

/// Records as librdkafka holds them, without copies.
pub(crate) struct Batch {
    messages: Vec<*mut sys::rd_kafka_message_t>,
    /// A message must not outlive its consumer.
    #[allow(dead_code, reason = "kept alive")]
    consumer: Arc<Consumer>,
}

// SAFETY: a message belongs to the batch alone and may be read and destroyed by any thread.
unsafe impl Send for Batch {}

impl Batch {
    /// Keeps what the closure wants and destroys the rest.
    fn retain(&mut self, mut keep: impl FnMut(&sys::rd_kafka_message_t) -> bool) {
        self.messages.retain(|&message| {
            // SAFETY: the message is alive and the batch's own.
            let kept = keep(unsafe { &*message });
            if !kept {
                // SAFETY: it is destroyed once, because it is not retained.
                unsafe { sys::rd_kafka_message_destroy(message) }
            }
            kept
        });
    }

    /// Keeps the offsets of a range.
    pub(crate) fn keep(&mut self, range: std::ops::Range<i64>) {
        self.retain(|message| range.contains(&message.offset));
    }

    /// The last record's offset.
    pub(crate) fn last(&self) -> Option<i64> {
        self.messages.len().checked_sub(1).and_then(|at| self.get(at)).map(|record| record.offset)
    }

    /// Partition of the record at a position.
    pub(crate) fn partition(&self, at: usize) -> i32 {
        // SAFETY: the message is alive while the batch is.
        self.messages.get(at).map_or(-1, |&message| unsafe { (*message).partition })
    }
}

impl Records for Batch {
    fn len(&self) -> usize {
        self.messages.len()
    }

    fn get(&self, at: usize) -> Option<Record<'_>> {
        let &message = self.messages.get(at)?;
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive while the batch is.
        let (message, timestamp) =
            unsafe { (&*message, sys::rd_kafka_message_timestamp(message, &raw mut kind)) };
        Some(Record {
            offset: message.offset,
            timestamp_us: (timestamp >= 0).then(|| timestamp.saturating_mul(1_000)),
            key: bytes(message.key, message.key_len),
            value: bytes(message.payload, message.len),
        })
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.retain(|_| false);
    }
}

/// Offset after the last record taken from a partition, control records included; `None` before the first.
pub(crate) fn position(consumer: &Consumer, topic: &str, partition: i32) -> Option<i64> {
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition(topic, partition);
    // SAFETY: client and list are alive; the call fills the list in.
    let error = unsafe { sys::rd_kafka_position(consumer.client().native_ptr(), list.ptr()) };
    (error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then_some(())?;
    list.elements().first().and_then(|element| element.offset().to_raw()).filter(|&offset| offset >= 0)
}

/// The end of a partition as the last fetch knew it.
pub(crate) fn known_end(consumer: &Consumer, topic: &str, partition: i32) -> Option<i64> {
    let topic = name(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive, the name ends with a zero byte, and both numbers may be written.
    let error = unsafe {
        let client = consumer.client().native_ptr();
        sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &raw mut low, &raw mut high)
    };
    (error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// Waits until nothing is queued or in flight. librdkafka wakes the caller at once: acknowledgements are not
/// reported, so that nothing has to be polled for.
pub(crate) fn flush(producer: &Producer, wait: Duration) -> bool {
    // SAFETY: the client is alive.
    let error = unsafe { sys::rd_kafka_flush(producer.client().native_ptr(), millis(wait)) };
    error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// Key and value of a message; an empty key is none.
pub(crate) type Pair<'a> = (&'a [u8], &'a [u8]);

/// A topic that is written.
pub(crate) struct Target {
    topic: ptr::NonNull<sys::rd_kafka_topic_t>,
    producer: Arc<Producer>,
    /// Kept, so that a batch needs no memory of its own.
    scratch: Vec<sys::rd_kafka_message_t>,
}

// SAFETY: librdkafka's topics are thread-safe; the scratch is empty between calls.
unsafe impl Send for Target {}

/// A key as C takes it.
fn key_pointer(key: &[u8]) -> *mut std::ffi::c_void {
    if key.is_empty() { ptr::null_mut() } else { key.as_ptr().cast_mut().cast() }
}

impl Target {
    /// The topic.
    ///
    /// # Errors
    /// When its name is not one.
    pub(crate) fn new(producer: &Arc<Producer>, topic: &str) -> Result<Self, LogError> {
        let topic_name = name(topic)?;
        // SAFETY: the client is alive and the name ends with a zero byte; without a configuration the default is taken.
        let handle = unsafe {
            sys::rd_kafka_topic_new(producer.client().native_ptr(), topic_name.as_ptr(), ptr::null_mut())
        };
        let handle = ptr::NonNull::new(handle);
        let topic = handle.ok_or_else(|| LogError::Refused(format!("{topic} cannot be written")))?;
        Ok(Self { topic, producer: Arc::clone(producer), scratch: Vec::new() })
    }

    /// Queues messages, copied, in their order. Gives how many were queued and, where those are not all, why.
    pub(crate) fn produce<'a>(
        &mut self,
        partition: i32,
        messages: impl Iterator<Item = Pair<'a>>,
    ) -> (usize, Option<Code>) {
        use sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR;
        self.scratch.clear();
        self.scratch.extend(messages.map(|(key, value)| {
            // SAFETY: of this struct of numbers and pointers, all zero is a valid value (no error, null).
            let mut message: sys::rd_kafka_message_t = unsafe { mem::zeroed() };
            message.payload = value.as_ptr().cast_mut().cast();
            message.len = value.len();
            message.key = key_pointer(key);
            message.key_len = key.len();
            message
        }));
        let count = i32::try_from(self.scratch.len()).unwrap_or(i32::MAX);
        // SAFETY: topic and messages are alive; keys and values are copied by the call and not written to.
        unsafe {
            let first = self.scratch.as_mut_ptr();
            sys::rd_kafka_produce_batch(
                self.topic.as_ptr(),
                partition,
                sys::RD_KAFKA_MSG_F_COPY,
                first,
                count,
            )
        };
        let failed = self.scratch.iter().enumerate().find(|(_, message)| message.err != NO_ERROR);
        let result =
            failed.map_or((self.scratch.len(), None), |(at, message)| (at, Some(message.err.into())));
        self.scratch.clear();
        result
    }

    /// Queues a message with headers, copied.
    pub(crate) fn produce_with(
        &self,
        partition: i32,
        (key, value): Pair<'_>,
        headers: &[(&CStr, &[u8])],
    ) -> Result<(), Code> {
        use sys::rd_kafka_vtype_t as V;
        let length = |bytes: usize| isize::try_from(bytes).unwrap_or(0);
        // SAFETY: the headers are new; names and values are copied into them. The message takes them over when it
        // is queued and leaves them to the caller otherwise. Every argument has the type that its tag announces.
        let error = unsafe {
            let list = sys::rd_kafka_headers_new(headers.len());
            for (name, bytes) in headers {
                sys::rd_kafka_header_add(
                    list,
                    name.as_ptr(),
                    length(name.count_bytes()),
                    bytes.as_ptr().cast(),
                    length(bytes.len()),
                );
            }
            let error = sys::rd_kafka_producev(
                self.producer.client().native_ptr(),
                V::RD_KAFKA_VTYPE_RKT,
                self.topic.as_ptr(),
                V::RD_KAFKA_VTYPE_PARTITION,
                partition,
                V::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY,
                V::RD_KAFKA_VTYPE_VALUE,
                value.as_ptr().cast::<std::ffi::c_void>(),
                value.len(),
                V::RD_KAFKA_VTYPE_KEY,
                key_pointer(key),
                key.len(),
                V::RD_KAFKA_VTYPE_HEADERS,
                list,
                V::RD_KAFKA_VTYPE_END,
            );
            if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                sys::rd_kafka_headers_destroy(list);
            }
            error
        };
        if error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR { Ok(()) } else { Err(error.into()) }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // SAFETY: the handle is this target's own, given back once, before its producer.
        unsafe { sys::rd_kafka_topic_destroy(self.topic.as_ptr()) }
    }
}
