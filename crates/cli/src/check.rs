//! `weir check`.

use crate::args::CheckArgs;
use crate::config::LogKind;
use crate::configured;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::serve;

/// Validates the configuration, and with Kafka looks at brokers and topics.
pub(crate) fn run(args: &CheckArgs, screen: &Screen) -> Result<(), Failure> {
    let config = configured(&args.config, Vec::new())?;
    let engine = &config.engine;
    let base = engine.base_currency.0;
    let source =
        args.config.config.as_ref().map_or("the defaults".to_owned(), |path| path.display().to_string());
    screen.say(&format!("configuration: {source}, valid, digest {}", engine.digest()))?;
    let rates: Vec<&str> = engine.currency_rates.keys().map(|code| code.0.as_str()).collect();
    if rates.is_empty() {
        screen.warn(&format!(
            "no currency has a rate; payments in other currencies than {base} make no collusion pairs and no points for overage, \
             and carry signal input.no_rate; add rates under [currency_rates]"
        ));
    } else {
        screen.say(&format!(
            "rates into {base}: {}; payments in other currencies carry signal input.no_rate",
            rates.join(", ")
        ))?;
    }
    if args.offline || config.service.log == LogKind::Embedded {
        Ok(())
    } else {
        serve::check(&config, screen)
    }
}
