use weir_events::{CapPeriod, Mandate};

use super::*;
use crate::hash::name_hash;
use crate::terms::MerchantCategories;
use crate::testing::{LATENESS_US, Rig, capped, mandate, pay, secs};

fn rig(mandate: Mandate) -> Rig<Scope> {
    let mut rig = Rig::<Scope>::new();
    let travel = ["expedia.com", "www.Airbnb.com"].map(|name| (name.to_owned(), "travel".to_owned()));
    let food = [("deli.com".to_owned(), "food".to_owned())];
    rig.params.merchant_categories = travel.into_iter().chain(food).collect();
    rig.categories = MerchantCategories::new(&rig.params.merchant_categories);
    rig.with(mandate)
}

fn names(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|&name| name.to_owned()).collect())
}

fn only(merchant: &str) -> Mandate {
    Mandate { scope_merchant: Some(merchant.to_owned()), ..mandate("m") }
}

#[test]
fn merchants_are_compared_trimmed_lower_case_and_without_www() {
    let check = |allowed: &str, actual: &'static str, expected: &str| {
        let last = rig(only(allowed)).pay(&pay(0).under("m").to(actual));
        assert_eq!(last, expected, "{allowed:?} and {actual:?}");
    };
    check("amazon.com", "amazon.com", "");
    check("amazon.com", "AMAZON.com", "");
    check("amazon.com", " \tamazon.com ", "");
    check("amazon.com", "www.amazon.com", "");
    check(" WWW.Amazon.com", "amazon.com", "");
    check("straße.de", "STRAßE.de", "");
    check("amazon.com", "www.www.amazon.com", "strict 1");
    check("amazon.com", "amazon.co", "strict 1");
    check("amazon.com", "amazon.com.evil.example", "strict 1");
    check("amazon.com", "ama zon.com", "strict 1");
    check("amazon.com", "аmazon.com", "strict 1"); // a Cyrillic а
}

#[test]
fn a_shared_configured_category_makes_it_category() {
    let check = |allowed: &str, actual: &'static str, expected: &str| {
        let last = rig(only(allowed)).pay(&pay(0).under("m").to(actual));
        assert_eq!(last, expected, "{allowed:?} and {actual:?}");
    };
    check("expedia.com", "airbnb.com", "category 1");
    check("Expedia.com", "WWW.airbnb.COM", "category 1");
    check("expedia.com", "deli.com", "strict 1");
    check("expedia.com", "casino.com", "strict 1");
    check("casino.com", "expedia.com", "strict 1");
    check("casino.com", "poker.com", "strict 1");
}

#[test]
fn both_lists_of_merchants_allow() {
    let listed = || Mandate { allowed_merchants: names(&["expedia.com", "shop.com"]), ..mandate("m") };
    let both = || Mandate { scope_merchant: Some("deli.com".to_owned()), ..listed() };
    let check = |mandate: Mandate, actual: &'static str, expected: &str| {
        assert_eq!(rig(mandate.clone()).pay(&pay(0).under("m").to(actual)), expected, "{actual} {mandate:?}");
    };
    check(listed(), "shop.com", "");
    check(listed(), "deli.com", "strict 1");
    check(listed(), "airbnb.com", "category 1");
    check(both(), "deli.com", "");
    check(both(), "shop.com", "");
    check(both(), "airbnb.com", "category 1");
    check(mandate("m"), "anything", "");
    check(Mandate { allowed_merchants: names(&[]), ..mandate("m") }, "shop.com", "strict 1");
    check(capped("m", "1", CapPeriod::Day), "anything", "");
}

#[test]
fn categories_are_compared_in_lower_case_and_none_is_not_allowed() {
    let check = |allowed: Option<Vec<String>>, actual: Option<&'static str>, expected: &str| {
        let mandate = Mandate { allowed_categories: allowed.clone(), ..mandate("m") };
        let paid = pay(0).under("m");
        let paid = actual.map_or(paid.clone(), |category| paid.category(category));
        assert_eq!(rig(mandate).pay(&paid), expected, "{allowed:?} and {actual:?}");
    };
    check(None, None, "");
    check(None, Some("toys"), "");
    check(names(&["toys", "5411"]), Some("toys"), "");
    check(names(&["Toys"]), Some("TOYS "), "");
    check(names(&["toys", "5411"]), Some("5411"), "");
    // Labels and codes are compared as they stand; groups of them are cross-merchant's alone.
    check(names(&["groceries"]), Some("5411"), "category_not_allowed 1");
    check(names(&["toys"]), Some("books"), "category_not_allowed 1");
    check(names(&["toys"]), None, "category_not_allowed 1");
    check(names(&[]), Some("toys"), "category_not_allowed 1");
}

#[test]
fn the_strongest_tier_comes_first_and_the_others_stand_beside_it() {
    let mandate = |merchant: &str| Mandate { allowed_categories: names(&["toys"]), ..only(merchant) };
    let both = rig(mandate("expedia.com")).pay(&pay(0).under("m").to("casino.com"));
    assert_eq!(both, "strict 1, category_not_allowed 1");
    let near = rig(mandate("expedia.com")).pay(&pay(0).under("m").to("airbnb.com"));
    assert_eq!(near, "category_not_allowed 1, category 1");
}

#[test]
fn nothing_is_said_of_no_mandate_or_an_unknown_one_and_late_payments_are_judged() {
    let mut rig = rig(only("amazon.com"));
    assert_eq!(rig.pay(&pay(0).to("deli.com")), "");
    assert_eq!(rig.pay(&pay(0).under("unknown").to("deli.com")), "");
    rig.pay(&pay(LATENESS_US + secs(1)));
    assert_eq!(rig.pay(&pay(0).under("m").to("deli.com")), "strict 1");
}

#[test]
fn the_view_counts_merchants_byte_for_byte_for_any_version_of_the_mandate() {
    let mut rig = rig(mandate("m"));
    for merchant in ["amazon.com", "amazon.com", "Amazon.com", "www.amazon.com", "deli.com"] {
        rig.pay(&pay(0).under("m").to(merchant));
    }
    let outside = |merchant: &str| rig.usage("m", "a").outside(name_hash(merchant.as_bytes()));
    assert_eq!(outside("amazon.com"), 3);
    assert_eq!(outside("Amazon.com"), 4);
    assert_eq!(outside("never.com"), 5);
}

#[test]
fn merchants_beyond_the_bound_count_as_outside() {
    let mut rig = rig(mandate("m"));
    rig.bounds.use_merchants_max = 1;
    rig.pay(&pay(0).under("m").to("first.com"));
    rig.pay(&pay(0).under("m").to("first.com"));
    assert!(!rig.reached.any());
    rig.pay(&pay(0).under("m").to("second.com"));
    assert!(rig.reached.has(Bound::UseMerchants));
    assert_eq!(rig.usage("m", "a").outside(name_hash(b"second.com")), 3);
    assert_eq!(rig.usage("m", "a").outside(name_hash(b"first.com")), 1);
}

#[test]
fn reasons_name_merchant_and_kind() {
    let mut rig = rig(Mandate { allowed_categories: names(&["toys"]), ..mandate("m") });
    rig.pay(&pay(0).under("m").to("bet.com").category("gambling"));
    assert!(rig.reason.contains("pay bet.com for gambling"), "{}", rig.reason);
    rig.pay(&pay(0).under("m").to("bet.com"));
    assert!(rig.reason.contains("without saying what for"), "{}", rig.reason);
}
