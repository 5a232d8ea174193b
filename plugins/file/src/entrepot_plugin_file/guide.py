"""How people get files out of a distribution: one file, with resume, and a look at its digest."""

from entrepot_sdk import Guide

__all__ = ["GUIDES"]

# What the manifest says about the files that are here. Its lines are path,sha256,size, and a path
# may hold commas; sha256sum wants the digest first.
_VERIFY = (
    "sed -n 's/^\\(.*\\),\\([0-9a-f]*\\),[0-9]*$/\\2  \\1/p'"
    " | sha256sum --check --ignore-missing --strict"
)

GUIDES = (
    Guide(
        client="curl",
        title="Download one file with curl",
        template=(
            "# Go on where an interrupted download ended; the file keeps its folders.\n"
            "curl --fail --location --continue-at - --create-dirs"
            " --output '{path}' '{content_url}{path}'\n"
        ),
        check=f"curl --fail --silent --show-error '{{content_url}}PULP_MANIFEST' | {_VERIFY}\n",
    ),
    Guide(
        client="wget",
        title="Download one file with wget",
        template=(
            "# Go on where an interrupted download ended; the file keeps its folders.\n"
            "wget --continue --directory-prefix=\"$(dirname -- '{path}')\""
            " '{content_url}{path}'\n"
        ),
        check=f"wget --quiet --output-document=- '{{content_url}}PULP_MANIFEST' | {_VERIFY}\n",
    ),
    Guide(
        client="aria2",
        title="Download one file with aria2, over several connections",
        template=(
            "# Go on where an interrupted download ended; the file keeps its folders.\n"
            "aria2c --continue=true --allow-overwrite=false --auto-file-renaming=false"
            " --split=4 --out='{path}' '{content_url}{path}'\n"
        ),
        check=(
            "aria2c --quiet=true --allow-overwrite=true --out=PULP_MANIFEST"
            " '{content_url}PULP_MANIFEST'\n"
            f"cat PULP_MANIFEST | {_VERIFY}\n"
        ),
    ),
)
