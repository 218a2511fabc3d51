#!/usr/bin/env bash
# Runs the Dockerfile's own steps in a clean folder, where there is no container engine: the first stage as it is written, the
# last stage's COPYs, and then the gateway with nothing but what the image would hold, read-only, as the image's user.
#   bash scripts/image-steps.sh
#   IMAGE_NODE=/path/to/node bash scripts/image-steps.sh      with the Node of the image; the gateway is then started, too
# Prints one line, and exits 0 or 1. What differs from an image: the base system, and the last stage's RUNs, which change only that.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ -z "${IMAGE_NODE:-}" ] || PATH="$(cd "$(dirname "$IMAGE_NODE")" && pwd):$PATH"
work=$(mktemp -d)
chmod 755 "$work"
log=$work/log
gateway=

cleanup () {
  [ -z "$gateway" ] || kill -KILL "$gateway" 2>/dev/null || true
  chmod -R u+w "$work" && rm -rf "$work"
}
trap cleanup EXIT

fail () {
  # The usage that npm adds to a fault is long, and no help here.
  [ ! -s "$log" ] || sed '/^npm error *\(Options:\|aliases:\|Run "npm help\)/,$d' "$log" | tail -n 40 >&2
  echo "image steps: FAILED: $1"
  exit 1
}

# copy_into FOLDER_OF_SOURCES FOLDER_OF_STAGE WORKDIR SOURCE… DESTINATION, as COPY does: of a folder its content.
copy_into () {
  local from=$1 stage=$2 workdir=$3 destination=${*: -1} source target
  case $destination in /*) target=$stage$destination ;; *) target=$stage$workdir/$destination ;; esac
  for source in "${@:4:$#-4}"; do
    [ -e "$from/$source" ] || fail "COPY of $source, which is not there"
    if [ -d "$from/$source" ]; then
      mkdir -p "$target" && cp -a "$from/$source/." "$target/"
    else
      case $target in */) mkdir -p "$target" ;; *) mkdir -p "$(dirname "$target")" ;; esac
      cp -a "$from/$source" "$target"
    fi
  done
}

build=$work/build
image=$work/image
# Below that the gateway takes a binary for SQLite, which is not in the image.
can_start=$(node -p "const [major, minor] = process.versions.node.split('.').map(Number); major > 22 || (major === 22 && minor >= 13)")
stage=
workdir=/
user=
entrypoint=
healthcheck=
base_major=
environment=()

# Comments away, continued lines joined, one instruction a line.
while read -r name text; do
  # read has eaten no quotes and no inner spaces: only the words of COPY are split below.
  case $stage/$name in
    */FROM)
      workdir=/
      [[ $text =~ ^node:([0-9]+) ]] || fail "FROM $text"
      base_major=${BASH_REMATCH[1]}
      case $stage in
        '') stage=build ;;
        build) stage=last ;;
        *) fail 'a third stage, of which this script knows nothing' ;;
      esac
      mkdir -p "$work/${stage/last/image}" ;;
    build/WORKDIR) workdir=$text; mkdir -p "$build$workdir" ;;
    build/COPY)
      case $text in --*) fail "COPY $text" ;; esac
      # shellcheck disable=SC2086 # words of a COPY
      copy_into "$project" "$build" "$workdir" $text ;;
    build/RUN)
      # Here it would be a path of this machine.
      case $text in *[[:space:]=\"\']/*) fail "RUN $text, which names an absolute path" ;; esac
      if [ "$can_start" = false ] && [[ $text == *' demo --once' ]]; then mkdir -p "$build$workdir/compile-cache/of-0" && continue; fi
      (cd "$build$workdir" && env -u NODE_ENV bash -c "$text") >>"$log" 2>&1 </dev/null || fail "RUN $text" ;;
    last/WORKDIR) workdir=$text; mkdir -p "$image$workdir" ;;
    last/COPY)
      case $text in --from=build\ *) text=${text#--from=build } ;; *) fail "COPY $text, which is not from the first stage" ;; esac
      # Who owns it is settled below.
      case $text in --chown=*) text=${text#* } ;; esac
      # shellcheck disable=SC2086 # words of a COPY
      copy_into "$build" "$image" "$workdir" $text ;;
    last/ENV) text=${text//=\/app/=$image/app} && environment+=("${text//\/data/$image/data}") ;;
    last/USER) user=$text ;;
    last/ENTRYPOINT) entrypoint=$text ;;
    last/HEALTHCHECK) healthcheck=${text#*CMD } ;;
    last/RUN | last/LABEL | last/VOLUME | last/EXPOSE | last/STOPSIGNAL | last/CMD) ;;
    *) fail "$name, which this script does not know" ;;
  esac
done < <(sed -e '/^[[:space:]]*#/d' "$project/Dockerfile" | sed -e ':again' -e '/\\$/{N;s/\\\n[[:space:]]*//;b again' -e '}' | sed -e '/^[[:space:]]*$/d')

[ "$stage" = last ] || fail 'there are no two stages'
[[ $user =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || fail "USER $user"
for wanted in app/dist/cli.js app/package.json app/node_modules data; do [ -e "$image/$wanted" ] || fail "/$wanted is not in the image"; done

# Nothing that only builds and tests, by the word of the lock file.
leftover=$(cd "$image/app" && node -p "Object.entries(JSON.parse(fs.readFileSync('$build/app/package-lock.json')).packages).filter(([path, { dev }]) => dev === true && fs.existsSync(path)).map(([path]) => path).join(' ')")
[ -z "$leftover" ] || fail "in the image, though only for development: $leftover"

# Node as the base image has it; and nothing else is on the PATH.
mkdir -p "$image/usr/local/bin" "$image/etc/gatewarden"
cp "$(node -p process.execPath)" "$image/usr/local/bin/node"
printf '%s\n' 'listen: { port: 0 }' 'admin: { port: 0 }' "storage: sqlite:$image/data/gatewarden.db" \
  'routes: [{ path: /, upstream: "http://127.0.0.1:9", access: authenticated }]' > "$image/etc/gatewarden/config.yaml"
chmod -R a-w,a+rX "$image"
as_user=()
who='this user'
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
  chown -R 0:0 "$image"
  chown -R "$user" "$image/data"
  as_user=(setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups --no-new-privs --inh-caps=-all)
  who=$user
fi
chmod 700 "$image/data"
in_image=(${as_user[@]+"${as_user[@]}"} env -i "PATH=$image/usr/local/bin" ${environment[@]+"${environment[@]}"})

cd "$image/etc/gatewarden"
! "${in_image[@]}" node -e "fs.writeFileSync('$image/app/written', '')" 2>/dev/null || fail 'the folder of the program can be written'
mapfile -t command < <(node -p "JSON.parse(process.argv[1]).join('\n')" "${entrypoint//\/app/$image/app}")

said=$("${in_image[@]}" "${command[@]}" --version 2>>"$log") || fail '--version'
[ "$said" = "$(node -p "require('$project/package.json').version")" ] || fail "--version says $said"
"${in_image[@]}" "${command[@]}" check --config "$image/app/config.yaml" >>"$log" 2>&1 || fail 'check of config.yaml'

size="$(du -sm "$image/app" | cut -f 1) MB"
running=$(node -p 'process.versions.node')
if [ "$can_start" = false ]; then
  echo "image steps: passed on Node $running as $who, read-only, $size: --version, check. Not started: that takes the image's Node $base_major (IMAGE_NODE)"
  exit 0
fi

# Read by the image's user, from a folder that cannot be written.
compiled='not by it'
if [ "$who" = "$user" ]; then
  compiled=$("${in_image[@]}" NODE_DEBUG_NATIVE=COMPILE_CACHE "${command[@]}" --version 2>&1 | grep -c 'dist/cli.* was accepted') || fail 'what V8 had compiled is not used'
fi
"${in_image[@]}" "${command[@]}" start --config "$image/etc/gatewarden/config.yaml" >>"$log" 2>&1 </dev/null &
gateway=$!
admin=
for _ in $(seq 150); do
  admin=$(sed -n 's/.*"admin":"\(http[^"]*\)".*/\1/p' "$log")
  [ -z "$admin" ] && kill -0 "$gateway" 2>/dev/null || break
  sleep 0.1
done
[ -n "$admin" ] || fail 'start'
mapfile -d '' -t check < <(node -e "process.stdout.write(JSON.parse(process.argv[1]).join('\0') + '\0')" "$healthcheck")
"${in_image[@]}" "GATEWARDEN_HEALTH_URL=$admin/livez" "${check[@]}" >>"$log" 2>&1 || fail 'the health check of a gateway that runs'
kill -TERM "$gateway"
ended=0
wait "$gateway" || ended=$?
gateway=
[ "$ended" = 0 ] || fail "SIGTERM: exit $ended"
! "${in_image[@]}" "GATEWARDEN_HEALTH_URL=$admin/livez" "${check[@]}" >>"$log" 2>&1 || fail 'the health check of a gateway that is gone'
echo "image steps: passed on Node $running as $who, read-only, $size: --version (files compiled before: $compiled), check, start, health check, SIGTERM"
