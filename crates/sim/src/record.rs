//! The records as the generator keeps them until they are due, and how they are written.

use crate::world::{Amounts, Currency, Merchant, Place, platform_at};

/// A mandate in full, as its record states it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mandate {
    /// Number behind the id; 0 is none.
    pub(crate) id: u64,
    pub(crate) agent: u32,
    pub(crate) scope: Scope,
    /// Minor units; 0 is no cap.
    pub(crate) cap: i64,
    pub(crate) period: Period,
    /// Minor units; 0 is none.
    pub(crate) per_payment_max: i64,
    /// 0 is none.
    pub(crate) max_uses: u64,
    pub(crate) currency: Currency,
    /// Hundredths of a transaction per second; 0 is none.
    pub(crate) authorized_tps_e2: u64,
    pub(crate) valid_from: i64,
    pub(crate) valid_to: i64,
    pub(crate) status: Status,
    pub(crate) updated_at: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Scope {
    #[default]
    Any,
    One(Merchant),
    Merchants(Vec<Merchant>),
    Categories(Vec<u8>),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Period {
    #[default]
    Lifetime,
    Day,
    Week,
    Month,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Status {
    #[default]
    Active,
    Paused,
    Revoked,
}

/// One payment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Payment {
    /// Number behind the id.
    pub(crate) id: u64,
    pub(crate) agent: u32,
    /// 0 is none.
    pub(crate) mandate: u64,
    pub(crate) merchant: Merchant,
    pub(crate) category_sent: bool,
    pub(crate) www: bool,
    /// Minor units.
    pub(crate) amount: i64,
    pub(crate) currency: Currency,
    pub(crate) country: &'static str,
    pub(crate) place: Option<Place>,
    /// `agent`, `principal`, or empty.
    pub(crate) place_source: &'static str,
    pub(crate) tx_time: i64,
    pub(crate) record_time: i64,
    pub(crate) platform: u8,
    /// The payment this one tries again; 0 is none.
    pub(crate) retry_of: u64,
    /// What retries share.
    pub(crate) payment_id: u64,
    pub(crate) label: Label,
}

/// The truth about a payment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Label {
    /// Place in [`crate::catalog::ATTACKS`] and number of the episode.
    pub(crate) attack: Option<(&'static str, u32)>,
    pub(crate) habit: &'static str,
}

/// What names an agent in records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    pub(crate) user: u64,
    pub(crate) agent: u64,
    /// One agent product serves many users under one `agent_id`.
    pub(crate) product: Option<&'static str>,
}

/// Appends JSON without a space, field by field.
pub(crate) struct Json<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Json<'a> {
    fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    fn key(&mut self, key: &str) {
        self.out.extend_from_slice(if self.first { b"\"" } else { b",\"" });
        self.first = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, key: &str, value: &str) {
        self.quoted(key, |out| out.extend_from_slice(value.as_bytes()));
    }

    fn quoted(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        self.out.push(b'"');
        write(self.out);
        self.out.push(b'"');
    }

    fn raw(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        write(self.out);
    }

    fn null(&mut self, key: &str) {
        self.raw(key, |out| out.extend_from_slice(b"null"));
    }

    fn close(self) {
        self.out.extend_from_slice(b"}\n");
    }
}

fn hex(out: &mut Vec<u8>, prefix: &[u8], value: u64, digits: u32) {
    out.extend_from_slice(prefix);
    for digit in (0..digits).rev() {
        let nibble = (value >> (4 * digit) & 15) as u8;
        out.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    }
}

/// Writes a number without sign, at least `width` digits.
pub(crate) fn digits(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut buffer = [b'0'; 20];
    let (mut rest, mut length) = (value, 0);
    for slot in buffer.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        rest /= 10;
        length += 1;
        if rest == 0 && length >= width {
            break;
        }
    }
    out.extend_from_slice(buffer.get(20 - length..).unwrap_or_default());
}

fn decimal(out: &mut Vec<u8>, minor: i64, exponent: u32) {
    let minor = minor.unsigned_abs();
    let unit = 10_u64.pow(exponent);
    digits(out, minor / unit, 1);
    if exponent > 0 {
        out.push(b'.');
        digits(out, minor % unit, exponent as usize);
    }
}

/// Writes degrees from units of 1e-7.
fn degrees(out: &mut Vec<u8>, e7: i64) {
    if e7 < 0 {
        out.push(b'-');
    }
    decimal(out, e7, 7);
}

/// Days since the epoch to year, month, day, by eras of 400 years that begin on 1 March.
fn civil(days: i64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year.unsigned_abs(), month.unsigned_abs(), day.unsigned_abs())
}

/// Months since year 0, for monthly caps.
pub(crate) fn month_number(days: i64) -> i64 {
    let (year, month, _) = civil(days);
    i64::try_from(year * 12 + month).unwrap_or(0)
}

/// Writes RFC 3339 with microseconds.
pub(crate) fn time(out: &mut Vec<u8>, at_us: i64, offset_minutes: i64) {
    let local = at_us + offset_minutes * 60_000_000;
    let (days, in_day) = (local.div_euclid(86_400_000_000), local.rem_euclid(86_400_000_000).unsigned_abs());
    let (year, month, day) = civil(days);
    digits(out, year, 4);
    for (mark, value) in [
        (b'-', month),
        (b'-', day),
        (b'T', in_day / 3_600_000_000),
        (b':', in_day / 60_000_000 % 60),
        (b':', in_day / 1_000_000 % 60),
    ] {
        out.push(mark);
        digits(out, value, 2);
    }
    out.push(b'.');
    digits(out, in_day % 1_000_000, 6);
    if offset_minutes == 0 {
        out.push(b'Z');
    } else {
        out.push(if offset_minutes < 0 { b'-' } else { b'+' });
        digits(out, offset_minutes.unsigned_abs() / 60, 2);
        out.push(b':');
        digits(out, offset_minutes.unsigned_abs() % 60, 2);
    }
}

fn write_agent(out: &mut Vec<u8>, names: Names) {
    match names.product {
        Some(product) => out.extend_from_slice(product.as_bytes()),
        None => hex(out, b"agt_", names.agent, 10),
    }
}

pub(crate) fn write_payment(out: &mut Vec<u8>, payment: &Payment, names: Names) {
    let platform = platform_at(payment.platform);
    let mut json = Json::open(out);
    json.quoted("tx_id", |out| hex(out, b"tx_", payment.id, 16));
    json.quoted("agent_id", |out| write_agent(out, names));
    json.quoted("user_id", |out| hex(out, b"usr_", names.user, 10));
    if payment.mandate == 0 {
        json.null("mandate_id");
    } else {
        json.quoted("mandate_id", |out| hex(out, b"mdt_", payment.mandate, 12));
    }
    json.quoted("merchant", |out| {
        out.extend_from_slice(if payment.www { b"www." } else { b"" });
        payment.merchant.write(out);
    });
    if payment.category_sent {
        json.text("merchant_category", payment.merchant.category_text());
    } else {
        json.null("merchant_category");
    }
    let money = payment.currency.money();
    match platform.amounts {
        Amounts::Text => json.quoted("amount", |out| decimal(out, payment.amount, money.exponent)),
        Amounts::Number => json.raw("amount", |out| decimal(out, payment.amount, money.exponent)),
        Amounts::Minor => json.raw("amount_minor", |out| digits(out, payment.amount.unsigned_abs(), 1)),
    }
    json.text("currency", money.code);
    json.text("country", payment.country);
    if let Some(place) = payment.place {
        json.raw("lat", |out| degrees(out, place.lat_e7));
        json.raw("lng", |out| degrees(out, place.lng_e7));
        if !payment.place_source.is_empty() {
            json.text("location_source", payment.place_source);
        }
    }
    json.quoted("tx_time", |out| time(out, payment.tx_time, platform.offset_minutes));
    json.quoted("record_time", |out| time(out, payment.record_time, 0));
    if platform.payment_ids {
        json.quoted("payment_id", |out| hex(out, b"pay_", payment.payment_id, 12));
    }
    if payment.retry_of != 0 {
        json.quoted("retry_of", |out| hex(out, b"tx_", payment.retry_of, 16));
    }
    json.close();
}

pub(crate) fn write_label(out: &mut Vec<u8>, payment: &Payment) {
    let mut json = Json::open(out);
    json.quoted("tx_id", |out| hex(out, b"tx_", payment.id, 16));
    if let Some((attack, episode)) = payment.label.attack {
        json.text("attack", attack);
        json.quoted("episode", |out| {
            out.extend_from_slice(b"ep_");
            digits(out, u64::from(episode), 6);
        });
    } else {
        json.null("attack");
        json.null("episode");
    }
    json.text("habit", payment.label.habit);
    json.close();
}

pub(crate) fn write_mandate(out: &mut Vec<u8>, mandate: &Mandate, names: Names) {
    let exponent = mandate.currency.money().exponent;
    let mut json = Json::open(out);
    json.quoted("mandate_id", |out| hex(out, b"mdt_", mandate.id, 12));
    json.quoted("agent_id", |out| write_agent(out, names));
    json.quoted("user_id", |out| hex(out, b"usr_", names.user, 10));
    write_scope(&mut json, &mandate.scope);
    if mandate.cap > 0 {
        json.quoted("max_amount", |out| decimal(out, mandate.cap, exponent));
        json.text(
            "max_amount_period",
            match mandate.period {
                Period::Lifetime => "lifetime",
                Period::Day => "day",
                Period::Week => "week",
                Period::Month => "month",
            },
        );
    } else {
        json.null("max_amount");
    }
    if mandate.per_payment_max > 0 {
        json.quoted("per_transaction_max", |out| decimal(out, mandate.per_payment_max, exponent));
    }
    if mandate.max_uses > 0 {
        json.raw("max_uses", |out| digits(out, mandate.max_uses, 1));
    }
    json.text("currency", mandate.currency.money().code);
    if mandate.authorized_tps_e2 > 0 {
        json.raw("authorized_tps", |out| {
            digits(out, mandate.authorized_tps_e2 / 100, 1);
            out.push(b'.');
            digits(out, mandate.authorized_tps_e2 % 100, 2);
        });
    }
    json.quoted("valid_from", |out| time(out, mandate.valid_from, 0));
    json.quoted("valid_to", |out| time(out, mandate.valid_to, 0));
    json.text(
        "status",
        match mandate.status {
            Status::Active => "active",
            Status::Paused => "paused",
            Status::Revoked => "revoked",
        },
    );
    if let Some(updated_at) = mandate.updated_at {
        json.quoted("updated_at", |out| time(out, updated_at, 0));
    }
    json.close();
}

fn write_scope(json: &mut Json<'_>, scope: &Scope) {
    match scope {
        Scope::One(merchant) => json.quoted("scope_merchant", |out| merchant.write(out)),
        _ => json.null("scope_merchant"),
    }
    let list = |out: &mut Vec<u8>, items: &mut dyn Iterator<Item = Vec<u8>>| {
        out.push(b'[');
        for (at, item) in items.enumerate() {
            out.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
            out.extend_from_slice(&item);
            out.push(b'"');
        }
        out.push(b']');
    };
    match scope {
        Scope::Merchants(merchants) => json.raw("allowed_merchants", |out| {
            list(
                out,
                &mut merchants.iter().map(|merchant| {
                    let mut name = Vec::new();
                    merchant.write(&mut name);
                    name
                }),
            );
        }),
        Scope::Categories(categories) => json.raw("allowed_categories", |out| {
            let both = categories
                .iter()
                .filter_map(|&at| crate::world::CATEGORIES.get(usize::from(at)))
                .flat_map(|category| [category.label, category.code]);
            list(out, &mut both.map(|text| text.as_bytes().to_vec()));
        }),
        Scope::Any | Scope::One(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        let mut out = Vec::new();
        time(&mut out, 1_777_989_660_000_001, 0);
        out.push(b' ');
        time(&mut out, 951_782_400_000_000, -300);
        out.push(b' ');
        time(&mut out, 951_782_400_000_000, 120);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "2026-05-05T14:01:00.000001Z 2000-02-28T19:00:00.000000-05:00 2000-02-29T02:00:00.000000+02:00"
        );
    }

    #[test]
    fn decimals_follow_the_exponent() {
        let mut out = Vec::new();
        decimal(&mut out, 5, 2);
        out.push(b' ');
        decimal(&mut out, 1_500, 0);
        out.push(b' ');
        decimal(&mut out, 12_345, 3);
        out.push(b' ');
        degrees(&mut out, -5_000_000);
        assert_eq!(String::from_utf8_lossy(&out), "0.05 1500 12.345 -0.5000000");
    }
}
