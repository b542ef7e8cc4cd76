use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, io::tcp::TcpSettings};

use crate::cluster::{ClusterError, ClusterErrorKind};

use super::{RedisConfig, error::into_error};

const SENTINEL_PORT: u16 = 26379;

/// Where Redis is, as the URL says.
#[derive(Clone)]
pub(super) struct Endpoints {
    /// Servers, or sentinels. The first that is reachable is used.
    pub(super) seeds: Vec<ConnectionInfo>,
    pub(super) sentinel: Option<Sentinel>,
}

/// The master that the sentinels are asked for.
#[derive(Clone)]
pub(super) struct Sentinel {
    pub(super) name: String,
    /// How to connect to it, except for its address.
    pub(super) master: ConnectionInfo,
}

impl Endpoints {
    pub(super) fn new(config: &RedisConfig) -> Result<Self, ClusterError> {
        let invalid = |what: &'static str| ClusterError::new(ClusterErrorKind::Config).caused_by(what);
        let (scheme, rest) = config.url.split_once("://").ok_or_else(|| invalid("the URL has no scheme"))?;
        let (base, is_sentinel) = match scheme.strip_suffix("+sentinel") {
            Some(base) => (base, true),
            None => (scheme, false),
        };
        if !matches!(base, "redis" | "rediss") {
            return Ok(Self { seeds: vec![info(&config.url, config)?], sentinel: None });
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        if !is_sentinel {
            let seeds = hosts.split(',').map(|host| info(&format!("{base}://{user}{host}{path}"), config));
            return Ok(Self { seeds: seeds.collect::<Result<_, _>>()?, sentinel: None });
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        let (name, path) = path.split_at(path.find(['/', '?']).unwrap_or(path.len()));
        if name.is_empty() {
            return Err(invalid("the URL of sentinels does not name a master"));
        }
        let name =
            percent_encoding::percent_decode_str(name).decode_utf8().map_err(|_| invalid("the name is not UTF-8"))?;
        let master = info(&format!("{base}://{user}localhost{path}"), config)?;
        let seeds = hosts.split(',').map(|host| {
            let has_port =
                host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok() && !host.ends_with(']'));
            let port = if has_port { String::new() } else { format!(":{SENTINEL_PORT}") };
            let seed = info(&format!("{base}://{host}{port}"), config)?;
            let settings = match &config.sentinel_password {
                Some(password) => seed.redis_settings().clone().set_password(password),
                None => seed.redis_settings().clone(),
            };
            Ok::<_, ClusterError>(seed.set_redis_settings(settings))
        });
        let seeds = seeds.collect::<Result<_, _>>()?;
        Ok(Self { seeds, sentinel: Some(Sentinel { name: name.into_owned(), master }) })
    }
}

/// Reads the URL of one server.
fn info(url: &str, config: &RedisConfig) -> Result<ConnectionInfo, ClusterError> {
    let info = url.into_connection_info().map_err(into_error)?;
    if !info.addr().is_supported() {
        let cause = "TLS needs the feature `redis-tls`, and UNIX sockets a UNIX system";
        return Err(ClusterError::new(ClusterErrorKind::Config).caused_by(cause));
    }
    let settings = info.redis_settings().clone().set_lib_name("tower-socketio", env!("CARGO_PKG_VERSION"));
    let info = info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true));
    with_certificates(info, config)
}

#[cfg(feature = "redis-tls")]
fn with_certificates(info: ConnectionInfo, config: &RedisConfig) -> Result<ConnectionInfo, ClusterError> {
    use rustls::crypto::{CryptoProvider, ring};

    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Ok(info);
    }
    // rustls panics if there is none and it cannot choose one.
    if CryptoProvider::get_default().is_none() {
        let _ = ring::default_provider().install_default();
    }
    let certificates = redis::TlsCertificates { client_tls: None, root_cert: config.root_certificates.clone() };
    let client = redis::Client::build_with_tls(info, certificates).map_err(into_error)?;
    Ok(client.get_connection_info().clone())
}

#[cfg(not(feature = "redis-tls"))]
#[expect(clippy::unnecessary_wraps, reason = "as with TLS")]
fn with_certificates(info: ConnectionInfo, _: &RedisConfig) -> Result<ConnectionInfo, ClusterError> {
    Ok(info)
}

/// Replaces the host and the port of a server. An empty host is not replaced.
pub(super) fn at(info: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let host = |old: &str| if host.is_empty() { old } else { host }.to_owned();
    let addr = match info.addr() {
        ConnectionAddr::TcpTls { host: old, insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: host(old), port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        ConnectionAddr::Tcp(old, _) => ConnectionAddr::Tcp(host(old), port),
        _ => ConnectionAddr::Tcp(host("localhost"), port),
    };
    info.clone().set_addr(addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str) -> (Vec<String>, Option<Sentinel>) {
        let endpoints = Endpoints::new(&RedisConfig::new(url).sentinel_password("watch")).unwrap();
        (endpoints.seeds.iter().map(|seed| seed.addr().to_string()).collect(), endpoints.sentinel)
    }

    #[test]
    fn a_url_names_one_server_or_several() {
        assert_eq!(addresses("redis://localhost").0, ["localhost:6379"]);
        assert_eq!(addresses("redis://u:p%40@a:1,b,[::1]:3/2").0, ["a:1", "b:6379", "::1:3"]);
        assert_eq!(addresses("unix:///run/redis.sock").0, ["/run/redis.sock"]);
        let endpoints = Endpoints::new(&RedisConfig::new("redis://u:p%40@a:1,b/2")).unwrap();
        for seed in &endpoints.seeds {
            let settings = seed.redis_settings();
            assert_eq!((settings.username(), settings.password(), settings.db()), (Some("u"), Some("p@"), 2));
        }
    }

    #[test]
    fn a_url_names_sentinels_and_their_master() {
        let (sentinels, master) = addresses("redis+sentinel://u:p@a,b:1,[::1]/my%20master/3");
        assert_eq!(sentinels, ["a:26379", "b:1", "::1:26379"]);
        let Sentinel { name, master } = master.unwrap();
        assert_eq!(name, "my master");
        let settings = master.redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("u"), Some("p"), 3));
        assert_eq!(at(&master, "c", 7).addr().to_string(), "c:7");
        assert_eq!(at(&master, "", 7).addr().to_string(), "localhost:7");
    }

    #[test]
    fn other_urls_are_refused() {
        for url in
            ["", "localhost", "http://localhost", "redis://", "redis://a,,b", "redis://a/x", "redis+sentinel://a"]
        {
            let error = Endpoints::new(&RedisConfig::new(url)).err().unwrap();
            assert_eq!(error.kind(), ClusterErrorKind::Config, "{url}");
        }
    }
}
