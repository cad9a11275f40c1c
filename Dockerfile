# syntax=docker/dockerfile:1
#
#   docker build -t hermes-mq .
#   docker run --init --read-only --tmpfs /tmp --memory 2g --pids-limit 128 \
#     -e HERMES_TOKEN=… -p 127.0.0.1:9000:9000 -v hermes-data:/data hermes-mq
#
# docs/operations.md says more.
#
# A release of an LTS line, by its full version, so that the same sources give the same image.
ARG NODE_VERSION=24.21.0

FROM node:${NODE_VERSION}-bookworm AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
# Packing compiles lib/ and, where there is no prebuilt addon for the platform, builds one.
RUN mkdir -p /packed /data && npm pack --pack-destination /packed
RUN npm install --prefix /opt/hermes --omit=dev --ignore-scripts --no-audit --no-fund /packed/hermes-mq-*.tgz
# The tarball holds no addon that was built here.
RUN if [ -e build/Release/hermes.node ]; then \
      install -D build/Release/hermes.node /opt/hermes/node_modules/hermes-mq/build/Release/hermes.node; \
    fi

FROM node:${NODE_VERSION}-bookworm-slim
COPY --from=build /opt/hermes /opt/hermes
# A volume that is mounted here for the first time takes over the owner.
COPY --from=build --chown=1000:1000 /data /data
ENV NODE_ENV=production \
    PATH=/opt/hermes/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HERMES_DIR=/data \
    HERMES_HOST=0.0.0.0 \
    HERMES_PORT=9000
# The user `node` of the image.
USER 1000:1000
WORKDIR /data
VOLUME /data
EXPOSE 9000
STOPSIGNAL SIGTERM
# With TLS, give another one: tls://… needs a name that the certificate has.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
  CMD hermes ping --url tcp://127.0.0.1:$HERMES_PORT --timeout 4s --quiet || exit 1
ENTRYPOINT ["hermes"]
# Without HERMES_TOKEN or a --config with `access`, it refuses to serve the container's address.
CMD ["serve"]
