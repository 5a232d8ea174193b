"""All declarations of one moment, with the look-ups that core needs.

It never changes: the registry swaps the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.domain.errors import FieldInvalidError, PluginUnknownError, TaskTypeUnknownError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from entrepot_core.plugins.descriptors import ContentTypeView, Declaration, TaskTypeView

__all__ = ["Catalog"]


class Catalog:
    """What all plugins declared.

    Declarations of removed plugins are in it too: their content stays readable.
    """

    def __init__(
        self,
        declarations: Iterable[Declaration],
        removed: Iterable[Declaration] = (),
        revision: int = 0,
    ) -> None:
        """`revision` grows whenever what is in the catalog changes."""
        self.revision = revision
        self.declarations = {declaration.name: declaration for declaration in declarations}
        self._all = {declaration.name: declaration for declaration in removed} | self.declarations
        self._tasks_by_message = {
            view.parameters_message: view for d in self._all.values() for view in d.task_types
        }
        self._tasks_by_name = {
            view.name: view for d in self._all.values() for view in d.task_types
        }
        self._content_by_name = {
            view.name: view for d in self._all.values() for view in d.content_types
        }
        self._content_by_message = {
            view.attributes_message: view for d in self._all.values() for view in d.content_types
        }
        self._content_by_collection = {
            (view.plugin, view.collection): view
            for d in self._all.values()
            for view in d.content_types
        }

    def plugin(self, name: str) -> Declaration:
        """The declaration of a registered plugin; PluginUnknownError if there is none."""
        declaration = self.declarations.get(name)
        if declaration is None:
            known = ", ".join(sorted(self.declarations))
            raise PluginUnknownError(
                f"There is no plugin {name}. Registered are: {known}.",
                metadata={"plugin": name, "plugins": known},
            )
        return declaration

    def any_plugin(self, name: str) -> Declaration | None:
        """The last declaration of a plugin, registered or removed; None if there never was one."""
        return self._all.get(name)

    def task_type(self, parameters_message: str) -> TaskTypeView:
        """The task type with these parameters; TaskTypeUnknownError if no plugin has it."""
        view = self._tasks_by_message.get(parameters_message)
        if view is None or view.plugin not in self.declarations:
            raise TaskTypeUnknownError(
                f"No plugin has a task with parameters {parameters_message or '(no type)'}. "
                f"Plugins: {', '.join(sorted(self.declarations))}.",
                metadata={
                    "task_type": parameters_message,
                    "plugins": ", ".join(sorted(self.declarations)),
                },
            )
        return view

    def find_task_type(self, name: str) -> TaskTypeView | None:
        """The task type of this name, "file/syncs"; None if there is none."""
        return self._tasks_by_name.get(name)

    def content_type(self, name: str) -> ContentTypeView | None:
        """The content type of this name, "file.file"; None if there is none."""
        return self._content_by_name.get(name)

    def content_type_of_message(self, attributes_message: str, field: str) -> ContentTypeView:
        """The content type with these attributes; FieldInvalidError if no plugin has it."""
        view = self._content_by_message.get(attributes_message)
        if view is None:
            known = ", ".join(sorted(self._content_by_message))
            raise FieldInvalidError.at(
                field,
                f"{attributes_message or '(no type)'} is no content type. There are {known}.",
            )
        return view

    def content_type_of_collection(self, plugin: str, collection: str) -> ContentTypeView | None:
        """The content type of units named content/<plugin>/<collection>/…, if there is one."""
        return self._content_by_collection.get((plugin, collection))

    def content_types(self) -> list[ContentTypeView]:
        """All content types, by name."""
        return [view for _, view in sorted(self._content_by_name.items())]
