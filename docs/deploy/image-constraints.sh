#!/bin/sh
# Print pip constraints for this machine. In an image that has any of the packages below: each
# package of the image at its version, its torch and all that was built against it. pip then finds
# versions of what is missing that fit, or says which do not. habana-pyhlml speaks to the driver's
# library, so a missing one gets the driver's release. On a machine without them: constraints.txt.
#
#   sh docs/deploy/image-constraints.sh >image.txt && pip install -e '.[test,hpu]' -c image.txt
set -eu
python=${PYTHON:-python3}
driver=${HABANALABS_VERSION_FILE:-/sys/module/habanalabs/version}

installed=$("$python" -m pip --disable-pip-version-check list --format=freeze)
has() { printf '%s\n' "$installed" | grep -qiE "^($1)=="; }

if has 'torch|numpy|transformers|tokenizers|huggingface[-_.]hub|datasets'; then
    # The project itself, of an earlier install, is what is installed anew.
    printf '%s\n' "$installed" | grep -vi '^w2v[-_.]core==' || :
else # a venv's own setuptools is not held: torch may ask for a newer one
    cat "$(dirname "$0")/../../constraints.txt"
fi
if [ -r "$driver" ] && ! has 'habana[-_.]pyhlml'; then
    printf 'habana-pyhlml==%s.*\n' "$(cut -d- -f1 "$driver")"
fi
