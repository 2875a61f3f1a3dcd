//! `measure curves`: what a request costs Seawall as there is more of something.

use std::io;

use serde::{Deserialize, Serialize};

use crate::generator::{Ask, Load, Transport};
use crate::lab::{Cores, Lab, Server, Start};
use crate::peer::{command, find, seawall};
use crate::peers::{warm, weigh_objects};
use crate::results::Results;
use crate::rounds::{Sample, Target, Turns, interleaved};

const SIZE: u64 = 1024;

/// What there is more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    Objects,
    Connections,
    Rules,
    Variants,
    Size,
}

/// What came of so many of them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) count: u64,
    pub(crate) samples: Vec<Sample>,
    /// Bytes that the process grew by for each object, where that was weighed.
    pub(crate) bytes: Option<f64>,
}

impl Curve {
    pub(crate) const ALL: [Self; 5] =
        [Self::Objects, Self::Connections, Self::Rules, Self::Variants, Self::Size];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Connections => "connections",
            Self::Rules => "rules",
            Self::Variants => "variants",
            Self::Size => "size",
        }
    }

    const fn counts(self) -> &'static [u64] {
        match self {
            Self::Objects => &[1000, 10_000, 100_000, 1_000_000],
            Self::Connections => &[1, 10, 100, 1000, 10_000],
            Self::Rules => &[1, 10, 100, 1000],
            Self::Variants => &[1, 4, 16, 64],
            Self::Size => &[1 << 10, 16 << 10, 256 << 10, 4 << 20, 64 << 20],
        }
    }

    fn ask(self, count: u64) -> Ask {
        match self {
            Self::Objects => Ask::Among(format!("/size-{SIZE}/weighed-"), count),
            Self::Connections | Self::Rules => Ask::One(format!("/size-{SIZE}/one")),
            Self::Variants => Ask::Variants(format!("/size-{SIZE}/vary/one"), count),
            Self::Size => Ask::One(format!("/size-{count}/one")),
        }
    }

    fn load(self, count: u64, seconds: u32) -> Load {
        let connections = match self {
            Self::Connections => count as u32,
            // So many of the largest that a turn is not over before all have one.
            Self::Size => 8,
            _ => 64,
        };
        Load {
            ask: self.ask(count),
            connections,
            transport: Transport::Plain,
            cores: Cores::Second,
            seconds: match self {
                // They take a while to come.
                Self::Connections if count > 1000 => seconds + 2,
                // What the end of a turn cuts off is in its CPU, and not in the count of answers.
                Self::Size if count > 16 << 20 => 5 * seconds,
                _ => seconds,
            },
        }
    }

    /// Beyond the defaults.
    fn settings(self, count: u64) -> String {
        match self {
            Self::Size => "max_object_size = \"128MiB\"\n".to_owned(),
            Self::Rules => rules(count),
            _ => String::new(),
        }
    }

    /// Has the server store it all; weighs it where there is enough of it.
    fn prepare(
        self,
        lab: &Lab,
        server: &Server,
        load: &Load,
        count: u64,
    ) -> io::Result<Option<f64>> {
        match self {
            Self::Objects => {
                let bytes = weigh_objects(server, SIZE, count)?;
                Ok((count >= 10_000).then_some(bytes))
            }
            Self::Variants => {
                Load { seconds: 1, ..load.clone() }.run(lab, server)?;
                Ok(None)
            }
            _ => warm(server, &load.ask).map(|()| None),
        }
    }

    fn measure(self, lab: &Lab, turns: Turns) -> io::Result<Vec<Point>> {
        let mut started = Vec::new();
        for &count in self.counts() {
            let server = seawall(lab, Cores::First, "off", &self.settings(count))?;
            let load = self.load(count, turns.seconds);
            let bytes = self.prepare(lab, &server, &load, count)?;
            started.push((count, server, load, bytes));
        }
        let targets: Vec<_> = started
            .iter()
            .map(|(count, server, load, _)| Target {
                name: format!("{count} {}", self.name()),
                server,
                load: load.clone(),
            })
            .collect();
        let samples = interleaved(lab, &targets, turns.rounds)?;
        let points = started.iter().zip(samples);
        let point = |(count, bytes), samples| Point { count, samples, bytes };
        Ok(points.map(|((count, _, _, bytes), it)| point((*count, *bytes), it)).collect())
    }
}

/// Rules that none of the requests is for: of other hosts, paths and kinds of file, as sites have them.
fn rules(count: u64) -> String {
    let rule = |number| {
        let condition = match number % 4 {
            0 => format!("host = \"site-{number}.example\""),
            1 => format!("path = \"/section-{number}/**\""),
            2 => format!("path = \"/**/*.type{number}\", cookie = {{ session = false }}"),
            _ => format!("host = \"www.example\", path = \"/part-{number}/*/edit\""),
        };
        format!("[[rule]]\nmatch = {{ {condition} }}\ncache.keep = \"{number}s\"\n")
    };
    (0..count).map(rule).collect::<Vec<_>>().concat()
}

/// What is switched on beside the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Feature {
    None,
    AccessLog,
    Redis,
}

impl Feature {
    const ALL: [Self; 3] = [Self::None, Self::AccessLog, Self::Redis];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::None => "defaults, no access log",
            Self::AccessLog => "access log to a file",
            Self::Redis => "Redis behind memory",
        }
    }
}

fn features(lab: &Lab, turns: Turns) -> io::Result<Vec<(Feature, Vec<Sample>)>> {
    let redis = redis(lab)?;
    let mut servers = Vec::new();
    for feature in Feature::ALL {
        let (log, more) = match (feature, &redis) {
            (Feature::None, _) => ("off", String::new()),
            (Feature::AccessLog, _) => ("text", String::new()),
            (Feature::Redis, Some(redis)) => {
                ("off", format!("[redis]\nurl = \"redis://{}\"\n", redis.address))
            }
            (Feature::Redis, None) => continue,
        };
        servers.push((feature, seawall(lab, Cores::First, log, &more)?));
    }
    let load = Curve::Objects.load(1000, turns.seconds);
    for (_, server) in &servers {
        warm(server, &load.ask)?;
    }
    let targets: Vec<_> = servers
        .iter()
        .map(|(feature, server)| Target {
            name: feature.title().into(),
            server,
            load: load.clone(),
        })
        .collect();
    let samples = interleaved(lab, &targets, turns.rounds)?;
    Ok(servers.iter().map(|(feature, _)| *feature).zip(samples).collect())
}

/// Where it is installed, one that keeps nothing, on the generator's core.
fn redis(lab: &Lab) -> io::Result<Option<Server>> {
    if find("redis-server").is_none() {
        eprintln!("Redis is left out: apt install redis-server");
        return Ok(None);
    }
    lab.start(&Start {
        name: "redis",
        cores: Cores::Second,
        templates: &[("save \"\"\nappendonly no\ndir @FOLDER@\n", "redis.conf")],
        words: &[],
        command: &|folder, address| {
            let file = folder.join("redis.conf").display().to_string();
            let (ip, port) = (address.ip().to_string(), address.port().to_string());
            command("redis-server", &[&file, "--bind", &ip, "--port", &port])
        },
    })
    .map(Some)
}

/// Measures what is not known yet.
pub(crate) fn measure(lab: &Lab, results: &Results, turns: Turns) -> io::Result<()> {
    for curve in Curve::ALL {
        results.get_or(&file(curve.name()), || curve.measure(lab, turns))?;
    }
    results.get_or(&file("features"), || features(lab, turns))?;
    Ok(())
}

pub(crate) fn file(name: &str) -> String {
    format!("curves-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_longer_where_they_have_to_be() {
        let seconds = |curve: Curve, count| curve.load(count, 2).seconds;
        assert_eq!((seconds(Curve::Size, 4 << 20), seconds(Curve::Size, 64 << 20)), (2, 10));
        assert_eq!(
            (seconds(Curve::Connections, 1000), seconds(Curve::Connections, 10_000)),
            (2, 4)
        );
        assert_eq!(seconds(Curve::Objects, 1_000_000), 2);
    }

    #[test]
    fn rules_of_all_kinds_are_read() {
        let settings = "[upstream.origin]\nurl = \"http://127.0.0.1\"\n".to_owned() + &rules(8);
        let read = seawall::config::parse(&settings, &seawall::config::CliOverrides::default());
        assert!(read.is_ok(), "{:?}", read.err().map(|faults| faults.to_string()));
    }
}
