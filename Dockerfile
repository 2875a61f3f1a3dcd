# Builds with the slow, fast profile and ships one binary and its configuration.
#
#   docker build -t seawall .
#   docker run -p 8080:8080 seawall serve --origin http://origin:9000 --listen 0.0.0.0:8080

FROM rust:1.95-slim-bookworm AS build
# The image has the compiler for what is C (crypto, allocator), and the toolchain that
# rust-toolchain.toml names, which is why that file is not copied: it would fetch it again.
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY config config
# Manifests name the tests and benchmarks; the build needs the files to exist, not what is in them.
COPY tests/main.rs tests/main.rs
COPY benches benches
RUN cargo build --profile dist --locked --bin seawall

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --no-create-home --shell /usr/sbin/nologin seawall
COPY --from=build /build/target/dist/seawall /usr/local/bin/seawall
COPY config/seawall.toml /etc/seawall/seawall.toml
# From outside, a container's loopback is nowhere.
RUN sed -i 's/^address = "127\.0\.0\.1:8080"$/address = "0.0.0.0:8080"/' /etc/seawall/seawall.toml \
 && grep -q '^address = "0.0.0.0:8080"$' /etc/seawall/seawall.toml
USER seawall
# 8080 for clients; the admin listener stays on the container's loopback unless told otherwise.
EXPOSE 8080
# SIGTERM drains; give it more than the grace time (30 s) before the container is killed.
STOPSIGNAL SIGTERM
ENTRYPOINT ["seawall"]
# No `--listen` here: it would replace the listeners of a configuration that is mounted.
CMD ["serve", "--config", "/etc/seawall/seawall.toml"]
