//! Where agents buy, with what money, and from where: categories, merchants, currencies, regions,
//! platforms. Names are invented (`.example` is reserved for that).

use crate::rng::Rng;

/// A merchant category, with prices in US cents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Category {
    pub(crate) label: &'static str,
    /// ISO 18245.
    pub(crate) code: &'static str,
    pub(crate) low_cents: i64,
    pub(crate) high_cents: i64,
    stems: [&'static str; 3],
}

const fn category(
    label: &'static str,
    code: &'static str,
    low_cents: i64,
    high_cents: i64,
    stems: [&'static str; 3],
) -> Category {
    Category { label, code, low_cents, high_cents, stems }
}

pub(crate) const CATEGORIES: [Category; 29] = [
    category("groceries", "5411", 120, 3_800, ["larder", "greens", "pantry"]),
    category("restaurants", "5812", 900, 9_500, ["bistro", "table", "kitchen"]),
    category("food_delivery", "5814", 1_100, 5_200, ["bites", "courier", "dish"]),
    category("pharmacy", "5912", 400, 6_500, ["remedy", "apothecary", "care"]),
    category("electronics", "5732", 1_500, 64_000, ["volt", "gadget", "circuit"]),
    category("clothing", "5651", 1_200, 21_000, ["thread", "attire", "loom"]),
    category("home_goods", "5712", 900, 32_000, ["hearth", "nest", "lamp"]),
    category("books", "5942", 500, 4_800, ["page", "folio", "shelf"]),
    category("pet_supplies", "5995", 600, 8_800, ["paws", "kennel", "whisker"]),
    category("office_supplies", "5943", 300, 12_000, ["desk", "paper", "clip"]),
    category("cosmetics", "5977", 700, 9_000, ["glow", "bloom", "mirror"]),
    category("sporting_goods", "5941", 1_100, 24_000, ["stride", "trail", "court"]),
    category("airlines", "4511", 7_900, 78_000, ["air", "wing", "jet"]),
    category("lodging", "7011", 6_500, 52_000, ["inn", "stay", "rooms"]),
    category("car_rental", "7512", 3_900, 31_000, ["wheels", "drive", "motor"]),
    category("rideshare", "4121", 600, 5_600, ["ride", "cab", "hop"]),
    category("streaming", "4899", 499, 2_299, ["stream", "tunes", "screen"]),
    category("software", "5734", 500, 19_900, ["soft", "suite", "code"]),
    category("cloud_services", "7372", 40, 6_000, ["cloud", "compute", "stack"]),
    category("advertising", "7311", 50, 9_500, ["reach", "ads", "banner"]),
    category("utilities", "4900", 2_100, 23_000, ["power", "water", "grid"]),
    category("event_tickets", "7922", 2_500, 18_500, ["stage", "arena", "gala"]),
    category("gift_cards", "6540", 1_000, 50_000, ["gift", "voucher", "present"]),
    category("p2p", "6538", 500, 60_000, ["send", "split", "friend"]),
    category("transfers", "6538", 1_000, 90_000, ["transfer", "remit", "bridge"]),
    category("wire_transfer", "4829", 2_500, 120_000, ["wire", "swift", "cable"]),
    category("gambling", "7995", 500, 40_000, ["bet", "stake", "odds"]),
    category("casino", "7995", 1_000, 50_000, ["casino", "spin", "chips"]),
    category("crypto", "6051", 1_500, 110_000, ["coin", "chain", "token"]),
];

/// First category of the risk classes; all from here on are.
pub(crate) const FIRST_RISK: u8 = 22;
pub(crate) const GROCERIES: u8 = 0;
pub(crate) const AIRLINES: u8 = 12;
pub(crate) const LODGING: u8 = 13;
pub(crate) const CAR_RENTAL: u8 = 14;

const PREFIXES: [&str; 8] = ["north", "bright", "river", "maple", "urban", "swift", "cedar", "blue"];

/// Merchants per category.
pub(crate) const PER_CATEGORY: u16 = 24;

/// A merchant: its category and its number in the category.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Merchant(pub(crate) u16);

impl Merchant {
    pub(crate) fn category(self) -> u8 {
        u8::try_from(self.0 / PER_CATEGORY).unwrap_or(0)
    }

    /// A merchant of a category, larger ones more often.
    pub(crate) fn draw(rng: &mut Rng, category: u8) -> Self {
        let wide = usize::from(PER_CATEGORY) - 1;
        let at = rng.count(0, wide).min(rng.count(0, wide));
        Self(u16::from(category) * PER_CATEGORY + u16::try_from(at).unwrap_or(0))
    }

    /// Some merchants' acquirers send no category.
    pub(crate) fn sends_category(self) -> bool {
        self.0 % PER_CATEGORY != PER_CATEGORY - 1
    }

    /// The category as this merchant's acquirer sends it: a label, or a code.
    pub(crate) fn category_text(self) -> &'static str {
        CATEGORIES
            .get(usize::from(self.category()))
            .map_or("", |c| if self.0 % 3 == 1 { c.code } else { c.label })
    }

    /// Writes the name.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let at = usize::from(self.0 % PER_CATEGORY);
        let prefix = PREFIXES.get(at % 8).copied().unwrap_or_default();
        let stem = CATEGORIES
            .get(usize::from(self.category()))
            .and_then(|c| c.stems.get(at / 8))
            .copied()
            .unwrap_or_default();
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(stem.as_bytes());
        out.extend_from_slice(b".example");
    }
}

/// A currency: code, exponent of its minor unit, and minor units per 1000 US cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Money {
    pub(crate) code: &'static str,
    pub(crate) exponent: u32,
    per_thousand_cents: i64,
}

pub(crate) const CURRENCIES: [Money; 7] = [
    Money { code: "USD", exponent: 2, per_thousand_cents: 1000 },
    Money { code: "EUR", exponent: 2, per_thousand_cents: 920 },
    Money { code: "GBP", exponent: 2, per_thousand_cents: 790 },
    Money { code: "JPY", exponent: 0, per_thousand_cents: 1510 },
    Money { code: "KWD", exponent: 3, per_thousand_cents: 3070 },
    Money { code: "BRL", exponent: 2, per_thousand_cents: 5400 },
    Money { code: "SEK", exponent: 2, per_thousand_cents: 10_400 },
];

/// A currency by its place in [`CURRENCIES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Currency(pub(crate) u8);

impl Currency {
    pub(crate) fn money(self) -> Money {
        CURRENCIES.get(usize::from(self.0)).copied().unwrap_or(Money {
            code: "USD",
            exponent: 2,
            per_thousand_cents: 1000,
        })
    }

    /// Minor units of this currency for `cents` US cents; at least one.
    pub(crate) fn minor(self, cents: i64) -> i64 {
        (cents * self.money().per_thousand_cents / 1000).max(1)
    }

    pub(crate) fn is_base(self) -> bool {
        self.0 == 0
    }
}

/// A position in units of 1e-7 degree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) lat_e7: i64,
    pub(crate) lng_e7: i64,
}

impl Place {
    const fn at(lat_e2: i64, lng_e2: i64) -> Self {
        Self { lat_e7: lat_e2 * 100_000, lng_e7: lng_e2 * 100_000 }
    }

    /// A place up to about `reach_e7` away on each axis.
    pub(crate) fn near(self, rng: &mut Rng, reach_e7: i64) -> Self {
        Self {
            lat_e7: (self.lat_e7 + rng.range(-reach_e7, reach_e7)).clamp(-890_000_000, 890_000_000),
            lng_e7: wrap(self.lng_e7 + rng.range(-reach_e7, reach_e7)),
        }
    }

    pub(crate) fn shifted(self, lat_e7: i64, lng_e7: i64) -> Self {
        Self {
            lat_e7: (self.lat_e7 + lat_e7).clamp(-890_000_000, 890_000_000),
            lng_e7: wrap(self.lng_e7 + lng_e7),
        }
    }

    /// Degrees (1e-7) apart on both axes together, the short way round.
    pub(crate) fn apart(self, other: Self) -> i64 {
        (self.lat_e7 - other.lat_e7).abs() + wrap(self.lng_e7 - other.lng_e7).abs()
    }
}

fn wrap(lng_e7: i64) -> i64 {
    const TURN: i64 = 3_600_000_000;
    let shifted = (lng_e7 + TURN / 2).rem_euclid(TURN);
    shifted - TURN / 2
}

/// Regions that agents run in: position and country.
pub(crate) const REGIONS: [(Place, &str); 14] = [
    (Place::at(3_894, -7_745), "US"),
    (Place::at(3_999, -8_300), "US"),
    (Place::at(4_584, -11_970), "US"),
    (Place::at(3_735, -12_196), "US"),
    (Place::at(4_550, -7_357), "CA"),
    (Place::at(-2_355, -4_663), "BR"),
    (Place::at(5_335, -626), "IE"),
    (Place::at(5_151, -13), "GB"),
    (Place::at(5_011, 868), "DE"),
    (Place::at(4_886, 235), "FR"),
    (Place::at(5_933, 1_807), "SE"),
    (Place::at(135, 10_382), "SG"),
    (Place::at(3_568, 13_969), "JP"),
    (Place::at(-3_387, 15_121), "AU"),
];

/// The region that `from` fails over to when the whole of it is down.
pub(crate) fn failover(from: u8) -> u8 {
    let table = [1, 0, 3, 2, 0, 4, 7, 6, 9, 8, 8, 12, 11, 11];
    table.get(usize::from(from)).copied().unwrap_or(0)
}

/// How a platform writes its records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Platform {
    /// Amounts as `amount_minor`, as a JSON number, or as a string.
    pub(crate) amounts: Amounts,
    /// Offset of its times from UTC.
    pub(crate) offset_minutes: i64,
    /// Whether it sends positions.
    pub(crate) located: bool,
    /// Whether it sends a `payment_id`, which a retry shares with what it retries.
    pub(crate) payment_ids: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amounts {
    Text,
    Number,
    Minor,
}

const fn platform(amounts: Amounts, offset_minutes: i64, located: bool, payment_ids: bool) -> Platform {
    Platform { amounts, offset_minutes, located, payment_ids }
}

pub(crate) const PLATFORMS: [Platform; 8] = [
    platform(Amounts::Text, 0, true, true),
    platform(Amounts::Text, 0, true, false),
    platform(Amounts::Minor, 0, true, true),
    platform(Amounts::Number, 0, false, false),
    platform(Amounts::Text, 120, true, true),
    platform(Amounts::Minor, 0, false, true),
    platform(Amounts::Text, -300, true, false),
    platform(Amounts::Number, 0, false, true),
];

pub(crate) fn platform_at(at: u8) -> Platform {
    PLATFORMS.get(usize::from(at)).copied().unwrap_or(platform(Amounts::Text, 0, false, false))
}

pub(crate) fn region_at(at: u8) -> (Place, &'static str) {
    REGIONS.get(usize::from(at)).copied().unwrap_or((Place::at(0, 0), "US"))
}

/// A price of the category in US cents: small ones more often, shop prices often end in 99.
pub(crate) fn price_cents(rng: &mut Rng, category: u8) -> i64 {
    let Some(category) = CATEGORIES.get(usize::from(category)) else { return 1_000 };
    let span = category.high_cents - category.low_cents;
    let draw = rng.range(0, span).min(rng.range(0, span));
    let cents = category.low_cents + draw;
    if cents > 300 && rng.below(5) < 2 { cents / 100 * 100 + 99 } else { cents }
}
