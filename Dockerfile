# The gateway: built from Debian's packages, run without compilers, a shell, or root.
#
#   docker build -t xebec/gateway .
#   docker run --rm -p 8080:8080 -v "$PWD/gateway.yaml:/etc/xebec/xebec.yaml:ro" xebec/gateway
#
# In a container 127.0.0.1 is nobody else's: the configuration says  listen: "*:8080"  and  admin: "*:8081".
# The same sources and packages give the same binary. To fix the packages too, build with
# --build-arg DEBIAN=debian:bookworm-slim@sha256:...
ARG DEBIAN=debian:bookworm-slim

# --- build: compilers stay here ----------------------------------------------------------------------------
FROM $DEBIAN AS build
WORKDIR /src
COPY deploy/packages.sh deploy/
RUN deploy/packages.sh build
COPY CMakeLists.txt ./
COPY proto proto
COPY containers/c containers/c
COPY gateway gateway
RUN cmake -S . -B /build -G Ninja -DXEBEC_TESTS=OFF && cmake --build /build --target xebec \
 && strip --strip-unneeded /build/xebec

# --- run -----------------------------------------------------------------------------------------------------
FROM $DEBIAN
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        libevent-core-2.1-7 libgrpc29 libhiredis0.14 libhttp-parser2.9 libnghttp2-14 libprotobuf-c1 libsimdjson14 \
        libsodium23 libssl3 libyaml-0-2 zlib1g \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/* /var/log/*
COPY --from=build /build/xebec /usr/local/bin/xebec
# A library that is missing is noticed now, not when it is deployed.
RUN ["xebec", "version"]

LABEL org.opencontainers.image.title="xebec" \
      org.opencontainers.image.description="Model-serving gateway" \
      org.opencontainers.image.licenses="Apache-2.0"

# A number, so that Kubernetes can see that it is not root. Nothing is written: a read-only root will do.
USER 10001:10001
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=40s --retries=3 CMD ["xebec", "health"]
ENTRYPOINT ["xebec"]
CMD ["serve", "--config", "/etc/xebec/xebec.yaml"]
