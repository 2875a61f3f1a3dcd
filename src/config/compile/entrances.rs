//! Where others come in: listeners for clients, and the admin listener.

use std::net::SocketAddr;
use std::ops::Range;

use super::Compiler;
use crate::config::fault::Fault;
use crate::config::overrides::Toggled;
use crate::config::sections::{admin, listener, server};
use crate::config::units;
use crate::server::{Limits, Listener};

impl Compiler<'_> {
    pub(super) fn server(&mut self, limits: Limits) -> server::Server {
        let mut server = self.section("server", &[server::SERVER], server::Server::default());
        server.config.limits = limits;
        server.config.listeners = self.listeners();
        server.config.threads = self.overrides.threads.map_or(server.config.threads, usize::from);
        server.config.grace = self.overrides.grace.unwrap_or(server.config.grace);
        server
    }

    fn listeners(&mut self) -> Vec<Listener> {
        let (listeners, places) = self.listeners_in_file();
        self.taken_twice(&listeners, &places);
        if !self.overrides.listen.is_empty() {
            return self.overrides.listen.iter().copied().map(Listener::new).collect();
        }
        if listeners.is_empty() {
            vec![Listener::new(listener::default_address())]
        } else {
            listeners
        }
    }

    fn listeners_in_file(&mut self) -> (Vec<Listener>, Vec<Range<usize>>) {
        let (mut listeners, mut places) = (Vec::new(), Vec::new());
        for value in self.array_of_tables("listener") {
            let mut draft = listener::Draft::new(value.span());
            self.fill("listener", &[listener::LISTENER], &value, &mut draft);
            let place = draft.span.clone();
            let finished = draft.finish();
            // A faulty address was reported where it stands.
            let listener =
                if value.has_key("address") { finished.ok() } else { self.note(finished) };
            if let Some(listener) = listener {
                listeners.push(listener);
                places.push(place);
            }
        }
        (listeners, places)
    }

    fn taken_twice(&mut self, listeners: &[Listener], places: &[Range<usize>]) {
        for (index, (listener, place)) in listeners.iter().zip(places).enumerate() {
            let twin = |earlier: &Listener| earlier.address == listener.address;
            if listener.address.port() != 0 && listeners.iter().take(index).any(twin) {
                let title =
                    format!("another listener has the address {} already", listener.address);
                self.faults.push(Fault::at(place.clone(), title).help("leave one of them out"));
            }
        }
    }

    pub(super) fn admin(&mut self, listeners: &[Listener]) -> crate::admin::Config {
        let mut admin = self.section("admin", &[admin::ADMIN], admin::default_admin());
        self.one_token("admin");
        if let Some(toggled) = self.overrides.admin_listen {
            (admin.address, admin.explicit) = (Toggled::on(toggled), true);
        }
        if let Some(token) = self.overrides.given_admin_token() {
            let checked = units::token(token).map(str::to_owned);
            admin.token = checked
                .map_err(|refused| {
                    let title = format!("--admin-token (SEAWALL_ADMIN_TOKEN): {}", refused.why);
                    self.faults.push(Fault::anywhere(None, title).help(refused.instead));
                })
                .ok();
        }
        if let Some(address) = admin.address {
            self.exposed_admin(address, &admin, listeners);
        }
        admin
    }

    fn exposed_admin(
        &mut self,
        address: SocketAddr,
        admin: &crate::admin::Config,
        listeners: &[Listener],
    ) {
        let written = self.value("admin").filter(|value| value.has_key("address"));
        let place = written
            .filter(|_| self.overrides.admin_listen.is_none())
            .map(|value| value.key_span("address"));
        let wants_token = self.overrides.given_admin_token().is_none()
            && !self.value("admin").is_some_and(|value| admin::names_token(&value));
        if !address.ip().is_loopback() && admin.token.is_none() && wants_token {
            self.faults.push(
                Fault::anywhere(
                    place.clone(),
                    format!("the admin listener {address} can be reached from other machines, and anybody there could purge"),
                )
                .help("add token_file = \"…\" to [admin], set SEAWALL_ADMIN_TOKEN, or listen on 127.0.0.1"),
            );
        }
        if address.port() != 0 && listeners.iter().any(|listener| listener.address == address) {
            let title = format!("the admin listener and a listener for clients share {address}");
            self.faults.push(Fault::anywhere(place, title).help("give one of them another port"));
        }
    }
}
