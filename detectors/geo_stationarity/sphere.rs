//! Distances on the sphere; trigonometry from the `libm` crate, the same on every platform.

use weir_events::Location;

use crate::nearest;

/// Mean radius of the Earth in metres.
const EARTH_RADIUS_M: f64 = 6_371_008.8;
const FULL_TURN_E7: i64 = 3_600_000_000;

/// Great-circle distance in whole metres; right across the antimeridian and at the poles.
pub(super) fn distance_m(a: Location, b: Location) -> u32 {
    let radians = |e7: i32| f64::from(e7) / 1e7 * (std::f64::consts::PI / 180.0);
    let (lat_a, lat_b) = (radians(a.lat_e7), radians(b.lat_e7));
    let half = |from: f64, to: f64| {
        let sine = libm::sin((to - from) / 2.0);
        sine * sine
    };
    let haversine =
        half(lat_a, lat_b) + libm::cos(lat_a) * libm::cos(lat_b) * half(radians(a.lng_e7), radians(b.lng_e7));
    let angle = 2.0 * libm::asin(libm::sqrt(haversine.clamp(0.0, 1.0)));
    u32::try_from(nearest(angle * EARTH_RADIUS_M)).unwrap_or(u32::MAX)
}

/// The one of the longitudes from which the others are least far around the circle; of several the
/// least.
pub(super) fn circular_median(longitudes_e7: &[i32]) -> i32 {
    let around = |a: i32, b: i32| {
        let apart = i64::from(a).abs_diff(i64::from(b));
        apart.min(FULL_TURN_E7.unsigned_abs().saturating_sub(apart))
    };
    let total = |candidate: i32| longitudes_e7.iter().map(|&other| around(candidate, other)).sum::<u64>();
    longitudes_e7.iter().copied().min_by_key(|&candidate| (total(candidate), candidate)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lng: f64) -> Location {
        #[allow(clippy::cast_possible_truncation, reason = "test values are in range")]
        let e7 = |degrees: f64| (degrees * 1e7).round() as i32;
        Location { lat_e7: e7(lat), lng_e7: e7(lng) }
    }

    #[test]
    fn known_distances() {
        let near = |a, b, km: u32| {
            let metres = distance_m(a, b);
            assert!(metres.abs_diff(km * 1000) < km * 10 + 1000, "{metres} m, expected about {km} km");
        };
        near(at(40.7128, -74.0060), at(51.5074, -0.1278), 5570); // New York to London
        near(at(-17.7134, 178.065), at(-13.7590, -172.1046), 1143); // Fiji to Samoa, over the antimeridian
        near(at(89.9, 0.0), at(89.9, 180.0), 22); // across the pole
        assert_eq!(distance_m(at(0.0, 180.0), at(0.0, -180.0)), 0);
        assert_eq!(distance_m(at(90.0, 10.0), at(90.0, -120.0)), 0);
    }

    #[test]
    fn median_around_the_antimeridian() {
        let e7 = |degrees: i32| degrees * 10_000_000;
        assert_eq!(circular_median(&[e7(179), e7(-179), e7(180), e7(-178), e7(178)]), e7(180));
        assert_eq!(circular_median(&[e7(1), e7(2), e7(3), e7(4), e7(100)]), e7(3));
    }
}
