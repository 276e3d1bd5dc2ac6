#!/bin/sh
# Installs edge-resad on a Jetson, or on any Linux machine with systemd. Can be run again: that is how one updates.
# deploy/jetson/README.md tells the whole way, from unboxing to the first verdict.
set -eu
umask 022 # what root installs, the station's user reads

usage() {
  cat <<'END'
usage: install.sh [options]

  --from PATH      wheel or checkout to install; without it, the checkout this script is in
  --station NAME   also make a station of this name: its file, from an example, and its folder
  --camera KIND    which example: v4l2, csi, gstreamer, rtsp, genicam, basler, folder or video (default: v4l2);
                   it brings what such a camera needs, for rtsp, genicam and basler the extra of that name
  --extra NAMES    extras of the package, such as jetson,live,gpio, or none (default: jetson on a Jetson, else none);
                   that of --camera comes with them
  --python PYTHON  Python 3.10 or newer (default: python3, the one that sees JetPack's TensorRT)
  --pip "OPTIONS"  more options for pip, such as "--no-index --find-links wheels" without a network
  --prefix DIR     install below DIR, without users, services and devices: to see what it does
  --dry-run        print every step and change nothing
  --help           print this
END
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
from=$(dirname "$(dirname "$here")")
station='' camera=v4l2 extra='' python=python3 pip_options='' prefix='' dry_run=no

die() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  option=$1
  shift
  case $option in
    --dry-run) dry_run=yes ;;
    --help | -h) usage && exit 0 ;;
    --from | --station | --camera | --extra | --python | --pip | --prefix)
      [ $# -gt 0 ] || die "$option needs a value. See install.sh --help"
      case $option in
        --from) from=$1 ;;
        --station) station=$1 ;;
        --camera) camera=$1 ;;
        --extra) extra=$1 ;;
        --python) python=$1 ;;
        --pip) pip_options=$1 ;;
        --prefix) prefix=${1%/} ;;
      esac
      shift
      ;;
    *) die "$option is not known. See install.sh --help" ;;
  esac
done

user=edge-resad
venv=$prefix/opt/edge-resad/venv
config=$prefix/etc/edge-resad
state=$prefix/var/lib/edge-resad
units=$prefix/etc/systemd/system
rules=$prefix/etc/udev/rules.d
bin=$prefix/usr/local/bin
is_jetson=no
[ -e /etc/nv_tegra_release ] && is_jetson=yes
if [ -z "$extra" ]; then
  if [ "$is_jetson" = yes ]; then extra=jetson; else extra=none; fi
fi
case $camera in
  rtsp | genicam | basler)
    case ",$extra," in
      ,none,) extra=$camera ;;
      *",$camera,"*) ;;
      *) extra=$extra,$camera ;;
    esac
    ;;
esac
cuda=${CUDA_HOME:-/usr/local/cuda}
if [ -d "$cuda/bin" ]; then # first: pycuda takes the CUDA of the first nvcc
  PATH=$cuda/bin:$PATH
  export PATH
fi

# Say a step and take it.  step WHAT COMMAND...
step() {
  what=$1
  shift
  if [ "$dry_run" = yes ]; then
    printf 'would: %s\n         %s\n' "$what" "$*"
  else
    printf '%s\n' "$what"
    "$@"
  fi
}

already() {
  printf '%s (already so)\n' "$*"
}

# Does this go into the running system, with its users, services and devices?
is_system() {
  [ -z "$prefix" ]
}

check() {
  case $station in
    *[!A-Za-z0-9_-]*) die "a station's name has letters, digits, - and _ only, not '$station'" ;;
  esac
  [ "${#station}" -le 64 ] || die "a station's name has at most 64 letters"
  [ -f "$here/stations/$camera.toml" ] || die "there is no example for --camera $camera: use v4l2, csi, gstreamer, rtsp, genicam, basler, folder or video"
  case $from in
    *.whl) [ -f "$from" ] || die "there is no wheel $from" ;;
    *) [ -f "$from/pyproject.toml" ] || die "$from is neither a wheel nor a checkout. Name one: --from PATH" ;;
  esac
  if is_system && [ "$dry_run" = no ] && [ "$(id -u)" -ne 0 ]; then
    die "installing takes root: sudo $0, or look first: $0 --dry-run"
  fi
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    die "$python is not Python 3.10 or newer. On a Jetson flash JetPack 6.1 or newer; elsewhere name one with --python"
}

# A package of the system, where what it brings is missing.  package NAME COMMAND-THAT-TELLS...
package() {
  name=$1
  shift
  "$@" >/dev/null 2>&1 && return
  if command -v apt-get >/dev/null; then
    step "system package $name" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$name"
  else
    printf 'missing: what Debian and Ubuntu have in the package %s\n' "$name"
  fi
}

# What Python needs for GStreamer, and with it for cameras on the CSI connector.
gstreamer() {
  package python3-gi "$python" -c 'import gi'
  package gir1.2-gst-plugins-base-1.0 "$python" -c 'import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")'
}

# What compiles pycuda.
compilers() {
  command -v nvcc >/dev/null ||
    die "pycuda is compiled with CUDA's nvcc, which is not here: apt-get install nvidia-jetpack, or --extra none"
  package g++ command -v g++
  package python3-dev "$python" -c \
    'import os, sysconfig; open(os.path.join(sysconfig.get_path("include"), "Python.h"))'
}

make_user() {
  if id "$user" >/dev/null 2>&1; then
    already "user $user"
  else
    step "user $user" useradd --system --user-group --home-dir "$state" --shell /usr/sbin/nologin "$user"
  fi
  for group in video render gpio; do
    getent group "$group" >/dev/null || continue
    if id -nG "$user" 2>/dev/null | tr ' ' '\n' | grep -qx "$group"; then
      already "user $user in group $group"
    else
      step "user $user in group $group" usermod -aG "$group" "$user"
    fi
  done
}

# A folder.  folder PATH MODE OWNER
folder() {
  if [ -d "$1" ]; then
    already "folder $1"
  elif is_system; then
    step "folder $1" install -d -m "$2" -o "$3" -g "$user" "$1"
  else
    step "folder $1" install -d -m "$2" "$1"
  fi
}

# A file, unless it is there with the same content.  put SOURCE TARGET
put() {
  if cmp -s "$1" "$2"; then
    already "file $2"
  else
    step "file $2" install -D -m 644 "$1" "$2"
  fi
}

make_venv() {
  if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    already "virtual environment $venv"
  elif "$python" -c 'import ensurepip' 2>/dev/null || [ "$dry_run" = yes ]; then
    # it sees the system's packages: TensorRT comes with JetPack, for the system's Python alone
    step "virtual environment $venv" "$python" -m venv --clear --system-site-packages "$venv"
  elif command -v virtualenv >/dev/null; then
    step "virtual environment $venv" virtualenv -q --clear --system-site-packages -p "$python" "$venv"
  else
    die "$python cannot make virtual environments. Debian and Ubuntu: apt-get install python3-venv"
  fi
}

install_package() {
  target=$from
  [ "$extra" = none ] || target="${from}[$extra]"
  # shellcheck disable=SC2086  # several options in one word
  step "package $target" "$venv/bin/python" -m pip install -q --disable-pip-version-check $pip_options "$target"
  # the version may be the same and the content another
  # shellcheck disable=SC2086
  step "package $from, anew" "$venv/bin/python" -m pip install -q --disable-pip-version-check --force-reinstall \
    --no-deps $pip_options "$from"
}

link_command() {
  target=/opt/edge-resad/venv/bin/edge-resad
  is_system || target=../../..$target # it leads there below the prefix and where the prefix becomes a root
  if [ "$(readlink "$bin/edge-resad" 2>/dev/null)" = "$target" ]; then
    already "command $bin/edge-resad"
  else
    step "folder $bin" install -d "$bin"
    step "command $bin/edge-resad" ln -sfn "$target" "$bin/edge-resad"
  fi
}

write_station() {
  printf '%s\n' "$(sed "s/press-7/$station/g" "$here/stations/$camera.toml")" >"$1"
}

make_station() {
  folder "$state/$station" 750 "$user"
  file=$config/$station.toml
  if [ -e "$file" ]; then
    already "station file $file"
    return
  fi
  step "station file $file" write_station "$file"
  if is_system; then
    step "station file $file can be read by $user" chown "root:$user" "$file"
  fi
  step "station file $file can be read by nobody else" chmod 640 "$file"
}

next_steps() {
  name=${station:-press-7}
  bank=/var/lib/edge-resad/$name/bank.npz
  printf '\nWhat comes next:\n'
  [ -n "$station" ] || printf '  sudo %s --station %s              # a station of your own\n' "$0" "$name"
  source=$(sed -n 's/^source = "\([^"]*\)".*/\1/p' "$here/stations/$camera.toml" | sed "s/press-7/$name/g")
  case $camera in
    v4l2) printf '  ls -l /dev/edge-resad                                # cameras, by names that stay\n' ;;
    folder | video) source=${source#*:} ;; # enrol takes their path
  esac
  enrol="edge-resad enrol '$source' -o $bank"
  [ "$camera" != genicam ] || enrol="env GENICAM_GENTL64_PATH=/opt/vendor/lib $enrol" # it reads no station file
  printf '  sudoedit /etc/edge-resad/%s.toml                  # camera, engine and broker\n' "$name"
  case ",$extra," in
    *,jetson,*)
      printf '  sudo -u %s -H edge-resad build --precision fp16  # engines, for [engine] in that file\n' "$user"
      enrol="$enrol --precision fp16"
      ;;
  esac
  cat <<END
  sudo -u $user -H $enrol
  sudo -u $user -H edge-resad doctor /etc/edge-resad/$name.toml
  sudo systemctl enable --now edge-resad@$name
END
}

check
if is_system; then
  package python3-venv "$python" -c 'import ensurepip'
  [ "$is_jetson" = no ] || package python3-libnvinfer "$python" -c 'import tensorrt'
  case ",$extra," in *,jetson,*) compilers ;; esac
  case $camera in
    csi | gstreamer) gstreamer ;;
    *) # no camera here needs it, so that its packages may be out of reach
      [ "$is_jetson" = no ] || gstreamer || printf 'missing: GStreamer for Python, which csi and gstreamer cameras need\n'
      ;;
  esac
  make_user
fi
folder "$config" 750 root
folder "$state" 750 "$user"
make_venv
install_package
link_command
put "$here/edge-resad@.service" "$units/edge-resad@.service"
put "$here/edge-resad-live@.service" "$units/edge-resad-live@.service"
put "$here/99-edge-resad-cameras.rules" "$rules/99-edge-resad-cameras.rules"
put "$here/99-edge-resad-usb-cameras.rules" "$rules/99-edge-resad-usb-cameras.rules"
if is_system && [ -S /run/udev/control ]; then # it is not there in a container or an image that is being made
  step "cameras get their names" udevadm control --reload
  step "cameras that are plugged in, too" udevadm trigger --subsystem-match=video4linux
  step "USB cameras that are plugged in may be opened" udevadm trigger --subsystem-match=usb --attr-match=bDeviceClass=ef
fi
if is_system && [ -d /run/systemd/system ]; then
  step "systemd reads the units" systemctl daemon-reload
fi
[ -z "$station" ] || make_station
next_steps
