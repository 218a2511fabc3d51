# Built with everything, shipped with what runs: Node, dist/, and the binaries of two password hashes.
#   docker build -t gatewarden .
#   docker run --read-only --cap-drop ALL -p 8080:8080 -v "$PWD/config:/etc/gatewarden:ro" -v gatewarden:/data gatewarden
# scripts/image-steps.sh takes the steps of the first stage from here and runs them without a container engine.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# A layer that changes with the lock file alone: `prepare` would need the source. No dependency needs its install script.
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY scripts/build.ts scripts/compile-schema.ts scripts/lean-builtins.ts scripts/lean-packages.ts ./scripts/
COPY src ./src
RUN npm run build
RUN chmod 755 dist/cli.js
RUN npm prune --omit=dev --ignore-scripts
# dist/ holds what it needs but for binaries; those of SQLite are for Node 20 alone, Node 24 brings node:sqlite.
RUN find node_modules -mindepth 1 -maxdepth 1 ! -name @node-rs -exec rm -rf {} +
COPY schema ./schema
COPY config.yaml ./
COPY examples/api ./examples/api
# What is built tells its story once; what V8 compiles for it is kept, so that a start need not (docs/decisions/0020).
RUN NODE_COMPILE_CACHE=compile-cache NODE_COMPILE_CACHE_PORTABLE=1 node dist/cli.js demo --once
# Node reads what has the user's number at its end.
RUN for kept in compile-cache/*; do mv "$kept" "${kept%-*}-10001"; done
RUN mkdir data

FROM node:24-bookworm-slim
LABEL org.opencontainers.image.title="Gatewarden"
LABEL org.opencontainers.image.description="A gateway that gives login to APIs that know nothing of it"
LABEL org.opencontainers.image.licenses="MIT"
LABEL org.opencontainers.image.version="0.1.0"
LABEL org.opencontainers.image.base.name="docker.io/library/node:24-bookworm-slim"
ENV NODE_ENV=production
# The root file system may be read-only: SQLite's rare temporary files go to the volume.
ENV SQLITE_TMPDIR=/data
# One pool of memory for all threads instead of one for each: they ask for little, and what one has given back another can use.
ENV MALLOC_ARENA_MAX=1
# What is not there cannot be used: no package manager beside the gateway.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn-*
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/compile-cache ./compile-cache
ENV NODE_COMPILE_CACHE=/app/compile-cache
ENV NODE_COMPILE_CACHE_PORTABLE=1
# For reading, and for `check`: the configuration in force is the one in /etc/gatewarden.
COPY --from=build /app/schema ./schema
COPY --from=build /app/config.yaml ./
# The API that `gatewarden demo` puts itself before.
COPY --from=build /app/examples ./examples
# So that `docker exec … gatewarden users list` reads like the documentation.
RUN ln -s /app/dist/cli.js /usr/local/bin/gatewarden

# The one place that is written: `storage: sqlite:/data/gatewarden.db`, and the master key beside it unless it is given.
COPY --from=build --chown=10001:10001 /app/data /data
VOLUME /data
USER 10001:10001

# `docker exec … gatewarden …` finds the same config.yaml here. Mount the folder, not the file: a file that is mounted alone
# never changes.
WORKDIR /etc/gatewarden
# The public port, and health and metrics. The latter are bound to loopback unless the configuration says otherwise.
EXPOSE 8080 9090
ENV GATEWARDEN_HEALTH_URL=http://127.0.0.1:9090/livez
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["node", "-e", "fetch(process.env.GATEWARDEN_HEALTH_URL).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
# V8 starts four helpers on however few cores; where there is one, its collections would wait for the turns of each
# (docs/decisions/0024).
ENTRYPOINT ["node", "--v8-pool-size=1", "/app/dist/cli.js"]
CMD ["start", "--config", "/etc/gatewarden/config.yaml"]
