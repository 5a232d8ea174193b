"""The paths of the OpenAPI document: core's bindings, and what plugins declare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_gateway.binding import core_bindings
from entrepot_gateway.openapi_parts import (
    answers_of,
    body_of,
    operation_of,
    page_of,
    path_parameter,
    problem_answer,
)
from entrepot_rpc.address import PREFIX
from entrepot_rpc.encoder import list_field
from entrepot_rpc.field import descriptor_of, is_required

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import Descriptor, FieldDescriptor

    from entrepot_gateway.binding import Binding
    from entrepot_gateway.catalog import ContentType, Plugin, TaskType
    from entrepot_gateway.openapi_parts import Json
    from entrepot_gateway.schema import SchemaBook

# What the segment after a collection names.
_SINGULAR = {
    "content": "digest",
    "distributions": "distribution",
    "limits": "limit",
    "plugins": "plugin",
    "publications": "publication",
    "remotes": "remote",
    "repositories": "repository",
    "tasks": "task",
    "uploads": "upload",
    "tokens": "token",
    "versions": "version",
}
_OF_PLUGINS = frozenset({"distributions", "publications", "remotes", "repositories"})


_OF_BOTH = ("wait", "dry_run", "priority", "on_failure", "absorb", "idempotency_key")
_CREATE_OPTIONS = (*_OF_BOTH, "validate_only")
_CLONE_OPTIONS = (*_OF_BOTH, "only_failures")


class Paths:
    """Collects paths."""

    def __init__(self, book: SchemaBook) -> None:
        self._book = book
        self.by_address: dict[str, Json] = {}
        # What belongs together, and what it is.
        self.tags: dict[str, str] = {}
        self._about: dict[str, str] = {}

    def add_of_core(self, binding: Binding) -> None:
        """Add a binding whose address is the same for all plugins."""
        collection = binding.template.segments[2]
        service = binding.rpc.containing_service.full_name
        self._about.setdefault(collection, self._book.comment(service))
        is_of_plugin = collection in _OF_PLUGINS or collection == "content"
        if is_of_plugin and "*" in binding.template.segments:
            return
        options: tuple[str, ...] = ("wait",) if binding.rpc.name == "GetTask" else ()
        if binding.rpc.name == "CloneTask":
            self._add_clone(binding)
            return
        if binding.rpc.name == "CommitPlan":
            options = ("idempotency_key",)
        body: Json | None = None
        if binding.rpc.name == "CancelTask":
            body = {
                "type": "object",
                "required": ["state"],
                "properties": {"state": {"type": "string", "const": "canceled"}},
            }
        elif binding.body_type is not None:
            is_update = binding.http_method == "PATCH"
            body = self._book.reference(binding.body_type, partial=is_update)
        if binding.rpc.name == "CreateTask":
            options = _CREATE_OPTIONS
        self._add(binding, _path(binding), collection, binding.rpc.name, body, options=options)

    def add_streams(self) -> None:
        """Add what is not an rpc: event streams, and the bytes of uploads."""
        stream = {
            "200": {
                "description": "Server-sent events.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            "default": problem_answer(),
        }
        after = [{"$ref": "#/components/parameters/last_event_id"}]
        self._put(
            f"{PREFIX}/events/",
            "get",
            operation_of("WatchEvents", "tasks", "The events of all tasks.", after, stream),
        )
        self._put(
            f"{PREFIX}/tasks/{{task}}/events/",
            "get",
            operation_of(
                "WatchTask",
                "tasks",
                "The task on every change, from its state now to its end.",
                [path_parameter("task"), *after],
                stream,
            ),
        )
        upload = next(b for b in core_bindings() if b.rpc.name == "GetUpload")
        parameters = [
            path_parameter("upload"),
            {
                "name": "Content-Range",
                "in": "header",
                "description": "`bytes first-last/total`, unless the body is the whole file.",
                "schema": {"type": "string"},
            },
        ]
        operation = operation_of(
            "WriteUpload",
            "uploads",
            "Appends bytes.",
            parameters,
            answers_of("200", self._book.reference(upload.answer_type)),
        )
        operation["requestBody"] = {
            "required": True,
            "content": {"application/octet-stream": {}},
        }
        self._put(f"{PREFIX}/uploads/{{upload}}/", "put", operation)

    def add_plugin(self, plugin: Plugin) -> None:
        """Add what a plugin declares."""
        self._about[plugin.name] = f"What the plugin {plugin.name} adds."
        for task_type in plugin.tasks.values():
            self._add_tasks(plugin, task_type)
        for content_type in plugin.contents.values():
            self._add_content(plugin, content_type)
        for binding in core_bindings():
            collection = binding.template.segments[2]
            if collection in _OF_PLUGINS and "*" in binding.template.segments:
                self._add_resource(plugin, collection, binding)

    def _add_resource(self, plugin: Plugin, collection: str, binding: Binding) -> None:
        spec_class = _spec(plugin, collection)
        if spec_class is False:
            return
        spec = spec_class if spec_class is not True else None
        body = None
        if binding.body_type is not None:
            body = self._book.reference(
                binding.body_type, partial=binding.http_method == "PATCH", spec=spec
            )
        name = f"{plugin.name}_{binding.rpc.name}"
        extra: list[Json] = []
        if binding.rpc.name == "ListContent":
            name = f"{plugin.name}_ListVersionContent"
            extra = [
                self._query(field)
                for item in plugin.contents.values()
                for field in _filterable(item)
            ]
        path = _path(binding).replace("{plugin}", plugin.name, 1)
        options = ("if_match",) if binding.http_method in ("PATCH", "DELETE") else ()
        self._add(binding, path, plugin.name, name, body, options=options, spec=spec, extra=extra)

    def _add_tasks(self, plugin: Plugin, task_type: TaskType) -> None:
        parameters = descriptor_of(task_type.parameters)
        task = next(b for b in core_bindings() if b.rpc.name == "GetTask").answer_type
        typed: Json = {"parameters": self._book.reference(parameters)}
        if task_type.result is not None:
            typed["result"] = self._book.reference(descriptor_of(task_type.result))
        answer = {"allOf": [self._book.reference(task), {"properties": typed}]}
        description = self._book.comment(parameters.full_name)
        path = f"{PREFIX}/tasks/{task_type.name}/"
        prefix = f"{plugin.name}_{task_type.collection}"
        create = operation_of(
            f"{prefix}_CreateTask",
            plugin.name,
            description,
            [{"$ref": f"#/components/parameters/{name}"} for name in _CREATE_OPTIONS],
            answers_of("201", answer, location=True),
        )
        create["requestBody"] = body_of(self._book.reference(parameters))
        self._put(path, "post", create)
        rpc = next(b for b in core_bindings() if b.rpc.name == "ListTasks")
        fields = [field for field in rpc.rpc.input_type.fields if field.name != "task_type"]
        listing = operation_of(
            f"{prefix}_ListTasks",
            plugin.name,
            f"Pages through the tasks {task_type.name}, newest first.",
            [self._query(field) for field in fields],
            answers_of("200", page_of(answer)),
        )
        self._put(path, "get", listing)

    def _add_content(self, plugin: Plugin, content_type: ContentType) -> None:
        attributes = self._book.reference(descriptor_of(content_type.attributes))
        for binding in core_bindings():
            if binding.template.segments[2] != "content":
                continue
            is_list = binding.rpc.name == "ListContent"
            message = next(b for b in core_bindings() if b.rpc.name == "GetContent").answer_type
            unit = {"properties": {"unit": {"properties": {"attributes": attributes}}}}
            answer: Json = {"allOf": [self._book.reference(message), unit]}
            path = _path(binding)
            path = path.replace("{plugin}", plugin.name, 1)
            path = path.replace("{collection}", content_type.collection, 1)
            parameters = [path_parameter("digest")] if "{digest}" in path else []
            if is_list:
                answer = page_of(answer)
                own = [item for item in binding.rpc.input_type.fields if item.name != "parent"]
                names = {item.name for item in own}
                fields = [item for item in _filterable(content_type) if item.name not in names]
                parameters += [self._query(field) for field in (*own, *fields)]
            operation = operation_of(
                f"{plugin.name}_{content_type.collection}_{binding.rpc.name}",
                plugin.name,
                self._book.comment(binding.rpc.full_name),
                parameters,
                answers_of("200", answer),
            )
            self._put(path, "get", operation)

    def _add_clone(self, binding: Binding) -> None:
        options = _CLONE_OPTIONS
        body = {
            "type": "object",
            "description": "Fields of the parameters to replace, flat.",
        }
        operation = operation_of(
            "CloneTask",
            "tasks",
            self._book.comment(binding.rpc.full_name),
            [
                path_parameter("task"),
                *({"$ref": f"#/components/parameters/{name}"} for name in options),
            ],
            answers_of("201", self._book.reference(binding.answer_type), location=True),
        )
        operation["requestBody"] = body_of(body, required=False)
        self._put(_path(binding), "post", operation)

    def _add(
        self,
        binding: Binding,
        path: str,
        tag: str,
        name: str,
        body: Json | None,
        *,
        options: Iterable[str] = (),
        spec: Descriptor | None = None,
        extra: Iterable[Json] = (),
    ) -> None:
        segments = path.strip("/").split("/")
        parameters = [
            path_parameter(segment.strip("{}")) for segment in segments if segment.startswith("{")
        ]
        given = {field.partition(".")[0] for field in binding.bound} | {binding.body, *options}
        if binding.body != "*":
            parameters += [
                self._query(field)
                for field in binding.rpc.input_type.fields
                if field.name not in given | {"update_mask"} and self._book.is_simple(field)
            ]
        parameters += [{"$ref": f"#/components/parameters/{option}"} for option in options]
        named = {item.get("name") for item in parameters}
        parameters += [item for item in extra if item["name"] not in named]
        operation = operation_of(
            name,
            tag,
            self._book.comment(binding.rpc.full_name),
            parameters,
            self._answers(binding, spec),
        )
        if body is not None:
            operation["requestBody"] = body_of(body)
        self._put(path, binding.http_method.lower(), operation)

    def _answers(self, binding: Binding, spec: Descriptor | None) -> Json:
        if binding.http_method == "DELETE":
            return {"204": {"description": "Deleted."}, "default": problem_answer()}
        field = None if binding.response_body else list_field(binding.answer_type)
        if field is not None and field.message_type is not None:
            return answers_of("200", page_of(self._book.reference(field.message_type, spec=spec)))
        schema = self._book.reference(binding.answer_type, spec=spec)
        created = binding.http_method == "POST"
        return answers_of("201" if created else "200", schema, location=created)

    def _query(self, field: FieldDescriptor) -> Json:
        schema = self._book.field(field)
        text = schema.pop("description", "")
        schema.pop("x-entrepot-reference", None)
        parameter: Json = {"name": field.name, "in": "query", "schema": schema}
        if text:
            parameter["description"] = text
        if is_required(field):
            parameter["required"] = True
        return parameter

    def _put(self, path: str, method: str, operation: Json) -> None:
        self.tags |= {tag: self._about[tag] for tag in operation["tags"]}
        self.by_address.setdefault(path, {})[method] = operation


def _path(binding: Binding) -> str:
    """The path with placeholders: for the plugin, and for what each collection holds."""
    result: list[str] = []
    for index, segment in enumerate(binding.template.segments):
        before = result[-1] if result else ""
        if segment != "*":
            result.append(segment)
        elif before in (*_OF_PLUGINS, "content") and index == 3:  # noqa: PLR2004  /api/v3/<collection>/
            result.append("{plugin}")
        elif before == "{plugin}":
            collection = result[-2]
            is_content = collection == "content"
            result.append("{collection}" if is_content else f"{{{_SINGULAR[collection]}}}")
        elif before == "{collection}":
            result.append("{digest}")
        else:
            result.append(f"{{{_SINGULAR[before]}}}")
    return "/" + "/".join(result) + "/"


def _spec(plugin: Plugin, collection: str) -> Descriptor | bool:
    """The plugin's own fields; True if it has none; False if it has no such resources."""
    kind = plugin.kinds.get(collection)
    if kind is None:
        return False
    message = plugin.messages.spec(kind)
    return descriptor_of(message) if message is not None else True


def _filterable(content_type: ContentType) -> list[FieldDescriptor]:
    fields = descriptor_of(content_type.attributes).fields_by_name
    return [fields[name] for name in content_type.filterable if name in fields]
