//! Groups of merchant categories: labels and ISO 18245 codes that mean the same kind of purchase.
//!
//! Without groups a rebooked trip (airline, hotel, car) would look like three unrelated kinds of
//! purchase. A label or code that no line names is a group of its own.

use smallvec::SmallVec;

use crate::hash::name_hash;
use crate::names::lowered;

/// A kind of purchase; 0 stands for none.
pub type Group = u64;

/// Name of a group, its labels, and its ranges of codes.
type Line = (&'static str, &'static [&'static str], &'static [(u16, u16)]);

/// Groups shipped with Weir, in the order of their numbers from 1 on.
const GROUPS: &[Line] = &[
    (
        "gift_cards",
        &["gift_cards", "gift_card", "giftcards", "giftcard", "prepaid", "prepaid_cards", "stored_value"],
        &[(5947, 5947), (6540, 6540)],
    ),
    (
        "transfers",
        &[
            "transfers",
            "transfer",
            "p2p",
            "wire_transfer",
            "wire_transfers",
            "wire",
            "money_transfer",
            "money_transfers",
            "remittance",
            "money_order",
            "cash_advance",
        ],
        &[(4829, 4829), (6010, 6012), (6533, 6538)],
    ),
    (
        "gambling",
        &["gambling", "casino", "casinos", "betting", "lottery", "sports_betting", "online_gambling"],
        &[(7800, 7802), (7995, 7995), (9406, 9406)],
    ),
    (
        "crypto",
        &["crypto", "cryptocurrency", "crypto_exchange", "digital_assets", "quasi_cash", "nft"],
        &[(6050, 6051)],
    ),
    (
        "travel",
        &[
            "travel",
            "airline",
            "airlines",
            "flights",
            "flight",
            "air_travel",
            "lodging",
            "hotel",
            "hotels",
            "accommodation",
            "car_rental",
            "car_hire",
            "rental_cars",
            "travel_agency",
            "travel_agencies",
            "cruise",
            "cruises",
            "rail",
            "train",
            "trains",
        ],
        &[
            (3000, 3999),
            (4112, 4112),
            (4411, 4411),
            (4511, 4511),
            (4582, 4582),
            (4722, 4723),
            (7011, 7012),
            (7033, 7033),
            (7512, 7513),
            (7519, 7519),
        ],
    ),
    (
        "transport",
        &[
            "transport",
            "transportation",
            "taxi",
            "taxis",
            "ride_hailing",
            "rideshare",
            "ride_share",
            "transit",
            "public_transport",
            "parking",
            "tolls",
        ],
        &[(4111, 4111), (4121, 4121), (4131, 4131), (4784, 4784), (4789, 4789), (7523, 7523)],
    ),
    (
        "groceries",
        &["groceries", "grocery", "supermarket", "supermarkets", "food", "convenience"],
        &[(5411, 5411), (5422, 5422), (5441, 5441), (5451, 5451), (5462, 5462), (5499, 5499), (5921, 5921)],
    ),
    (
        "dining",
        &["dining", "restaurant", "restaurants", "food_delivery", "fast_food", "takeaway", "cafe"],
        &[(5811, 5814)],
    ),
    (
        "electronics",
        &["electronics", "computers", "consumer_electronics", "phones"],
        &[(4812, 4812), (5045, 5046), (5065, 5065), (5722, 5722), (5732, 5732)],
    ),
    (
        "software",
        &["software", "saas", "cloud", "digital_goods", "apps", "games", "gaming", "hosting"],
        &[(4816, 4816), (5734, 5734), (5815, 5818), (7372, 7375)],
    ),
    (
        "streaming",
        &["streaming", "subscription", "subscriptions", "media", "music", "video", "entertainment"],
        &[(4899, 4899), (7832, 7832), (7841, 7841), (7922, 7922), (7929, 7929)],
    ),
    ("utilities", &["utilities", "utility", "telecom", "internet", "energy"], &[(4814, 4814), (4900, 4900)]),
    ("clothing", &["clothing", "apparel", "fashion", "shoes"], &[(5611, 5699), (5931, 5931)]),
    (
        "home",
        &["home", "furniture", "home_improvement", "household", "hardware", "garden"],
        &[(5200, 5261), (5271, 5271), (5712, 5719)],
    ),
    (
        "health",
        &["health", "pharmacy", "pharmacies", "medical", "drugstore", "beauty", "cosmetics"],
        &[(5912, 5912), (5977, 5977), (5975, 5976), (8011, 8099)],
    ),
    ("fuel", &["fuel", "gas_station", "petrol", "ev_charging"], &[(5541, 5542), (5552, 5552)]),
    (
        "retail",
        &[
            "retail",
            "general",
            "general_merchandise",
            "marketplace",
            "department_store",
            "shopping",
            "department_stores",
        ],
        &[(5300, 5399), (5999, 5999), (5262, 5262)],
    ),
    (
        "office",
        &["office", "office_supplies", "stationery", "printing"],
        &[(2741, 2842), (5111, 5111), (5943, 5943)],
    ),
    ("books", &["books", "bookstore", "books_and_media"], &[(5192, 5192), (5942, 5942)]),
    ("insurance", &["insurance"], &[(5960, 5960), (6300, 6300)]),
    ("education", &["education", "courses", "tuition"], &[(8211, 8299)]),
    ("pets", &["pets", "pet_supplies", "veterinary"], &[(742, 742), (5995, 5995)]),
    (
        "sports",
        &["sports", "sporting_goods", "fitness", "outdoors"],
        &[(5940, 5941), (7941, 7941), (7997, 7997)],
    ),
    ("toys", &["toys", "hobby", "hobbies"], &[(5945, 5945)]),
    ("donations", &["donations", "charity", "charities"], &[(8398, 8398)]),
];

/// The first groups of the list are the ones that turn a purchase into money.
const RISK_GROUPS: Group = 4;

/// The groups by label and by code.
#[derive(Debug, Clone)]
pub struct GroupMap {
    /// Hash of each label with its group, sorted.
    labels: Vec<(u64, Group)>,
    /// Group of each four-digit code; 0 where no line names it.
    codes: Vec<u8>,
}

impl Default for GroupMap {
    fn default() -> Self {
        let (mut labels, mut codes) = (Vec::new(), vec![0; 10_000]);
        for ((_, names, ranges), group) in GROUPS.iter().zip(1_u8..) {
            labels.extend(names.iter().map(|name| (name_hash(name.as_bytes()), Group::from(group))));
            for &(from, to) in *ranges {
                let range = codes.get_mut(usize::from(from)..=usize::from(to));
                range.into_iter().flatten().for_each(|code| *code = group);
            }
        }
        labels.sort_unstable();
        Self { labels, codes }
    }
}

impl GroupMap {
    /// The group of a merchant category, as a label or a four-digit code; `hash` is its
    /// [`name_hash`].
    #[must_use]
    pub fn group(&self, category: &str, hash: u64) -> Group {
        if let Some(code) = code(category) {
            return match self.codes.get(code) {
                Some(&group) if group > 0 => Group::from(group),
                _ => of_its_own(hash),
            };
        }
        self.labelled(as_label(category).map_or(hash, |label| name_hash(&label)))
    }

    fn labelled(&self, hash: u64) -> Group {
        let at = self.labels.binary_search_by_key(&hash, |&(known, _)| known).ok();
        at.and_then(|at| self.labels.get(at)).map_or(of_its_own(hash), |&(_, group)| group)
    }
}

/// A category that no line names; the high bit keeps it apart from the numbers of the list.
fn of_its_own(hash: u64) -> Group {
    hash | 1 << 63
}

/// A category as the list writes labels: lower case, words joined by underscores. `None`: it already is.
fn as_label(category: &str) -> Option<SmallVec<[u8; 64]>> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if category.bytes().all(plain) {
        return None;
    }
    let joined = |byte| if matches!(byte, b' ' | b'-') { b'_' } else { byte };
    Some(lowered(category).bytes().map(joined).collect())
}

/// Whether a group turns a purchase into money: gift cards, transfers, gambling, crypto.
#[must_use]
pub fn is_risk(group: Group) -> bool {
    (1..=RISK_GROUPS).contains(&group)
}

/// Name of a shipped group.
#[must_use]
pub fn name(group: Group) -> Option<&'static str> {
    let at = usize::try_from(group).ok()?.checked_sub(1)?;
    GROUPS.get(at).map(|(name, ..)| *name)
}

fn code(category: &str) -> Option<usize> {
    let digits = category.len() == 4 && category.bytes().all(|byte| byte.is_ascii_digit());
    if digits { category.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_and_no_code_is_in_two_groups() {
        let map = GroupMap::default();
        assert!(map.labels.windows(2).all(|pair| matches!(pair, [a, b] if a.0 != b.0)));
        for code in 0..=9999_u16 {
            let holding = GROUPS
                .iter()
                .filter(|(_, _, ranges)| ranges.iter().any(|&(from, to)| (from..=to).contains(&code)));
            assert!(holding.count() <= 1, "code {code:04} is in two groups");
        }
    }

    #[test]
    fn labels_and_codes_of_one_kind_meet() {
        let map = GroupMap::default();
        let group = |category: &str| map.group(category, name_hash(category.as_bytes()));
        let same = |a: &str, b: &str| assert_eq!(group(a), group(b), "{a} and {b}");
        same("airlines", "3000");
        same("Lodging", "7011");
        same("car rental", "7512");
        same("gift-cards", "gift_cards");
        same("Falconry", "falconry");
        assert_ne!(group("falconry"), group("heraldry"));
        assert_ne!(group("0001"), group("0002"));
        for risky in [
            "gift_cards",
            "p2p",
            "transfers",
            "wire_transfer",
            "gambling",
            "casino",
            "crypto",
            "7995",
            "6051",
            "4829",
        ] {
            assert!(is_risk(group(risky)), "{risky}");
        }
        for plain in ["groceries", "5411", "airlines", "falconry"] {
            assert!(!is_risk(group(plain)), "{plain}");
        }
    }
}
