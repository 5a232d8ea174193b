"""The process of the plugin: `entrepot-plugin-file`."""

from entrepot_plugin_file.plugin import plugin
from entrepot_sdk import serve

__all__ = ["main"]


def main() -> None:
    """Serve until told to stop."""
    serve(plugin)


if __name__ == "__main__":
    main()
