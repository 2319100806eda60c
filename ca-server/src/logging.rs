//! JSON lines on standard error. What goes in is chosen at each call: never a token, a key or a request body.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::environment;

/// Starts logging. `SIGNET_LOG` holds the filter (`info` by default, `debug`, `signet_ca=debug` …).
pub fn init() {
    let filter = environment("SIGNET_LOG").unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(BoxMakeWriter::new(std::io::stderr))
        .finish();
    // A second call (tests) keeps the first subscriber.
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("logging was started already");
    }
}
