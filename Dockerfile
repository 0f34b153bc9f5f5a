# The program from this repository: docker build -t r2former .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --profile dist --locked -p r2former-cli

FROM debian:bookworm-slim
RUN useradd --system --create-home r2former
# Who signs certificates, for s3://, https:// and qdrants://: the slim image does not know.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/target/dist/r2former /usr/local/bin/r2former
USER r2former
EXPOSE 8080
# serve /places --listen 0.0.0.0:8080 --keys /keys.txt
ENTRYPOINT ["r2former"]
CMD ["--help"]
