//! How often a client may ask.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// How often clients that have long been quiet are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Requests of each client, counted over the last second.
pub(super) struct Rate<C: Clock = DefaultClock> {
    limiter: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, C, NoOpMiddleware<C::Instant>>,
    /// When the quiet are to be forgotten next.
    forget_at: Mutex<C::Instant>,
}

impl Rate {
    /// Each client may ask so often in a second, all at once if it likes.
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        Self::by(DefaultClock::default(), per_second)
    }
}

impl<C: Clock> Rate<C> {
    fn by(clock: C, per_second: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second);
        let limiter = RateLimiter::new(quota, HashMapStateStore::default(), clock);
        let forget_at = Mutex::new(limiter.clock().now() + FORGET_EVERY.into());
        Self { limiter, forget_at }
    }

    /// Whether a client may ask now; how long it should wait otherwise.
    pub(super) fn check(&self, client: IpAddr) -> Result<(), Duration> {
        self.forget();
        let refused = self.limiter.check_key(&network(client));
        refused.map_err(|until| until.wait_time_from(self.limiter.clock().now()))
    }

    /// Who has not asked for so long that it makes no difference needs no memory. Those who have are at most as many
    /// as there were connections in the last seconds.
    fn forget(&self) {
        let mut forget_at = self.forget_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.limiter.clock().now();
        if now >= *forget_at {
            *forget_at = now + FORGET_EVERY.into();
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }
}

/// Who counts as one client: an address, and of version 6 the network that one subscriber gets whole.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn rate(per_second: u32) -> Rate<FakeRelativeClock> {
        Rate::by(FakeRelativeClock::default(), NonZeroU32::new(per_second).unwrap())
    }

    #[test]
    fn each_client_has_its_own_bound() {
        let rate = rate(2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        assert_eq!([rate.check(one), rate.check(one)], [Ok(()), Ok(())]);
        assert_eq!(rate.check(one), Err(Duration::from_millis(500)));
        assert_eq!(rate.check(other), Ok(()));
        rate.limiter.clock().advance(Duration::from_millis(499));
        assert_eq!(rate.check(one), Err(Duration::from_millis(1)));
        rate.limiter.clock().advance(Duration::from_millis(1));
        assert_eq!(rate.check(one), Ok(()));
    }

    #[test]
    fn a_network_of_version_6_is_one_client() {
        let rate = rate(1);
        assert_eq!(rate.check("2001:db8::1".parse().unwrap()), Ok(()));
        assert!(rate.check("2001:db8::2".parse().unwrap()).is_err());
        assert_eq!(rate.check("2001:db8:0:1::1".parse().unwrap()), Ok(()));
        // The same client, whichever way its address is written.
        assert_eq!(rate.check("::ffff:192.0.2.1".parse().unwrap()), Ok(()));
        assert!(rate.check("192.0.2.1".parse().unwrap()).is_err());
    }

    #[test]
    fn who_is_quiet_is_forgotten() {
        let rate = rate(1);
        for last in 0..200 {
            assert_eq!(rate.check(IpAddr::from([192, 0, 2, last])), Ok(()));
        }
        rate.limiter.clock().advance(FORGET_EVERY.saturating_sub(Duration::from_nanos(1)));
        assert_eq!(rate.check(IpAddr::from([192, 0, 2, 200])), Ok(()));
        assert_eq!(rate.limiter.len(), 201);
        rate.limiter.clock().advance(FORGET_EVERY * 2);
        assert_eq!(rate.check(IpAddr::from([192, 0, 2, 201])), Ok(()));
        assert_eq!(rate.limiter.len(), 1);
    }
}
