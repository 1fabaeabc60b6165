# syntax=docker/dockerfile:1
# One image for every role: the first argument chooses (edge, router, workers, timeline …, users).

FROM rust:1.95-slim-bookworm AS build
# The image brings the C compiler and libc's headers that aws-lc and mimalloc are built with; nothing here is C++ or wants cmake.
WORKDIR /src
COPY . .
# Shipped stripped, 19 MB instead of 96: the rest are symbols and line tables, which only the backtrace of a panic reads. The panic's own file and
# line are in the log without them. For a backtrace, take the binary of the same commit that `cargo build` leaves in target/: it is the same code.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --features aws -p soundoff && strip -o /soundoff target/release/soundoff

# glibc and certificates, no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /soundoff /soundoff
USER 65532:65532
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
ENTRYPOINT ["/soundoff"]
