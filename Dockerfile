# Built with everything, shipped with what runs: Node, the production dependencies and dist/.
#   docker build -t gatewarden .
#   docker run --read-only --cap-drop ALL -p 8080:8080 -v "$PWD/config:/etc/gatewarden:ro" -v gatewarden:/data gatewarden

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# A layer that changes with the lock file alone. No install script is needed, so none is run.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build
RUN chmod 755 dist/cli.js
RUN npm prune --omit=dev --ignore-scripts
RUN mkdir data

FROM node:24-bookworm-slim
ENV NODE_ENV=production
# The root file system may be read-only: SQLite's rare temporary files go to the volume.
ENV SQLITE_TMPDIR=/data
# What is not there cannot be used: no package manager beside the gateway.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /usr/local/bin/yarn /usr/local/bin/yarnpkg
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY examples/api ./examples/api
# So that `docker exec … gatewarden users list` reads like the documentation.
RUN ln -s /app/dist/cli.js /usr/local/bin/gatewarden

# The one place that is written: `storage: sqlite:/data/gatewarden.db`, and the master key beside it unless it is given.
COPY --from=build --chown=10001:10001 /app/data /data
VOLUME /data
USER 10001:10001

# config.yaml is looked for here. Mount the folder, not the file: a file that is mounted alone never changes.
WORKDIR /etc/gatewarden
# The public port. The admin port stays out of it, so that `docker run -P` does not publish it.
EXPOSE 8080
ENV GATEWARDEN_HEALTH_URL=http://127.0.0.1:9090/livez
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["node", "-e", "fetch(process.env.GATEWARDEN_HEALTH_URL).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "/app/dist/cli.js"]
CMD ["start"]
