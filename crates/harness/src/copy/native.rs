//! The calls of librdkafka that its safe binding lacks: records in batches, queues per partition.
#![allow(unsafe_code, reason = "the C library's batch calls; every other module of the crate is safe")]

use std::ffi::CString;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t::{RD_KAFKA_RESP_ERR__QUEUE_FULL, RD_KAFKA_RESP_ERR_NO_ERROR};

/// Keeps the partitions' records out of the consumer's own queue. To be called before they are assigned.
pub(super) fn split<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str, partitions: &[i32]) {
    for &partition in partitions {
        let queue = handle(consumer, topic, partition);
        // SAFETY: the queue is alive; its reference is given back at once, the forwarding stays.
        unsafe {
            sys::rd_kafka_queue_forward(queue, ptr::null_mut());
            sys::rd_kafka_queue_destroy(queue);
        }
    }
}

fn handle<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> *mut sys::rd_kafka_queue_t {
    let topic = CString::new(topic).expect("a topic's name");
    // SAFETY: the client is alive, the name ends with a zero byte and is copied by the call.
    let queue = unsafe {
        sys::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition)
    };
    assert!(!queue.is_null(), "a partition has a queue");
    queue
}

/// A partition's queue; it goes before its consumer.
pub(super) struct Queue<C: ConsumerContext + 'static> {
    queue: *mut sys::rd_kafka_queue_t,
    #[allow(dead_code, reason = "kept alive")]
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues are thread-safe; the handle is a counted reference.
unsafe impl<C: ConsumerContext> Send for Queue<C> {}

impl<C: ConsumerContext> Queue<C> {
    /// The queue of a partition.
    pub(super) fn new(consumer: &Arc<BaseConsumer<C>>, topic: &str, partition: i32) -> Self {
        Self { queue: handle(consumer, topic, partition), consumer: Arc::clone(consumer) }
    }

    /// At most `max` records; the whole of `wait` is waited unless there are so many.
    fn consume(&self, max: usize, wait: Duration, batch: &mut Batch) {
        let start = batch.0.len();
        batch.0.reserve(max);
        let millis = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: there is room for `max` pointers after those that are there; the call says how many it wrote.
        unsafe {
            let first = batch.0.as_mut_ptr().add(start);
            let taken = sys::rd_kafka_consume_batch_queue(self.queue, millis, first, max);
            batch.0.set_len(start + usize::try_from(taken).unwrap_or(0));
        }
        batch.0.retain(|&message| {
            // SAFETY: the message is alive and the batch's own; it is destroyed once, as it is not retained.
            unsafe {
                let fine = (*message).err == RD_KAFKA_RESP_ERR_NO_ERROR;
                if !fine {
                    sys::rd_kafka_message_destroy(message);
                }
                fine
            }
        });
    }

    /// Waits for a first record, then at most `more` for others.
    pub(super) fn gather(&self, max: usize, wait: Duration, more: Duration) -> Batch {
        let mut batch = Batch(Vec::new());
        self.consume(1, wait, &mut batch);
        if !batch.is_empty() && max > 1 {
            self.consume(max - 1, more, &mut batch);
        }
        batch
    }
}

impl<C: ConsumerContext + 'static> Drop for Queue<C> {
    fn drop(&mut self) {
        // SAFETY: the reference is this one's own, given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) }
    }
}

/// Records as librdkafka holds them.
pub(super) struct Batch(Vec<*mut sys::rd_kafka_message_t>);

// SAFETY: a message belongs to the batch alone and may be read and destroyed by any thread.
unsafe impl Send for Batch {}

impl Batch {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Position after the last.
    pub(super) fn next(&self) -> i64 {
        // SAFETY: the message is alive while the batch is.
        self.0.last().map_or(0, |&message| unsafe { (*message).offset + 1 })
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for &message in &self.0 {
            // SAFETY: each message is the batch's own and destroyed once.
            unsafe { sys::rd_kafka_message_destroy(message) }
        }
    }
}

/// A topic that is written.
pub(super) struct Target {
    topic: *mut sys::rd_kafka_topic_t,
    producer: Arc<BaseProducer>,
}

// SAFETY: librdkafka's topics are thread-safe.
unsafe impl Send for Target {}

impl Target {
    /// The topic.
    pub(super) fn new(producer: &Arc<BaseProducer>, name: &str) -> Self {
        let name = CString::new(name).expect("a topic's name");
        // SAFETY: the client is alive and the name ends with a zero byte.
        let topic = unsafe {
            sys::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut())
        };
        assert!(!topic.is_null(), "the topic can be written");
        Self { topic, producer: Arc::clone(producer) }
    }

    /// Queues copies of the records, in their order, in one call as far as there is room.
    pub(super) fn produce(&self, partition: i32, batch: &Batch) {
        let copy = |&message: &*mut sys::rd_kafka_message_t| {
            // SAFETY: all zero is a valid value of this struct of numbers and pointers; the message is alive.
            unsafe {
                let mut copy: sys::rd_kafka_message_t = std::mem::zeroed();
                (copy.payload, copy.len) = ((*message).payload, (*message).len);
                (copy.key, copy.key_len) = ((*message).key, (*message).key_len);
                copy
            }
        };
        let mut copies: Vec<sys::rd_kafka_message_t> = batch.0.iter().map(copy).collect();
        let mut at = 0;
        while at < copies.len() {
            let rest = &mut copies[at..];
            let count = i32::try_from(rest.len()).expect("a batch is small");
            // SAFETY: topic and messages are alive; keys and values are copied by the call.
            let queued = unsafe {
                let flags = sys::RD_KAFKA_MSG_F_COPY;
                sys::rd_kafka_produce_batch(self.topic, partition, flags, rest.as_mut_ptr(), count)
            };
            at += usize::try_from(queued).unwrap_or(0);
            if let Some(stopped) = copies.get(at) {
                assert!(stopped.err == RD_KAFKA_RESP_ERR__QUEUE_FULL, "{:?}", stopped.err);
                self.producer.poll(Duration::from_millis(1));
            }
        }
    }

    /// Queues copies of the records with the two headers that a decision has.
    pub(super) fn produce_with_headers(&self, partition: i32, batch: &Batch, instance: &str) {
        use sys::rd_kafka_vtype_t as V;
        let length = |bytes: usize| isize::try_from(bytes).unwrap_or(0);
        for &message in &batch.0 {
            loop {
                // SAFETY: the message is alive; names and values are copied. The headers go over to the message when it
                // is queued and are destroyed otherwise. Every argument has the type that its tag announces.
                let error = unsafe {
                    let offset = (*message).offset.to_string();
                    let headers = sys::rd_kafka_headers_new(2);
                    for (name, value) in [(c"source-offset", offset.as_str()), (c"instance", instance)] {
                        let (bytes, size) = (value.as_ptr().cast(), length(value.len()));
                        sys::rd_kafka_header_add(
                            headers,
                            name.as_ptr(),
                            length(name.count_bytes()),
                            bytes,
                            size,
                        );
                    }
                    let error = sys::rd_kafka_producev(
                        self.producer.client().native_ptr(),
                        V::RD_KAFKA_VTYPE_RKT,
                        self.topic,
                        V::RD_KAFKA_VTYPE_PARTITION,
                        partition,
                        V::RD_KAFKA_VTYPE_MSGFLAGS,
                        sys::RD_KAFKA_MSG_F_COPY,
                        V::RD_KAFKA_VTYPE_VALUE,
                        (*message).payload,
                        (*message).len,
                        V::RD_KAFKA_VTYPE_KEY,
                        (*message).key,
                        (*message).key_len,
                        V::RD_KAFKA_VTYPE_HEADERS,
                        headers,
                        V::RD_KAFKA_VTYPE_END,
                    );
                    if error != RD_KAFKA_RESP_ERR_NO_ERROR {
                        sys::rd_kafka_headers_destroy(headers);
                    }
                    error
                };
                if error == RD_KAFKA_RESP_ERR_NO_ERROR {
                    break;
                }
                assert!(error == RD_KAFKA_RESP_ERR__QUEUE_FULL, "{error:?}");
                self.producer.poll(Duration::from_millis(1));
            }
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // SAFETY: the handle is this target's own, given back once, before its producer.
        unsafe { sys::rd_kafka_topic_destroy(self.topic) }
    }
}

/// Waits until nothing is queued or in flight.
pub(super) fn flush(producer: &BaseProducer, wait: Duration) -> bool {
    let millis = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client is alive.
    unsafe { sys::rd_kafka_flush(producer.client().native_ptr(), millis) == RD_KAFKA_RESP_ERR_NO_ERROR }
}
