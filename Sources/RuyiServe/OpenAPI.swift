import RuyiEngine
import RuyiFamilies
import RuyiFiles

/// The interface as an OpenAPI 3.1 document; its settings come from the table that the command line is made of.
enum OpenAPI {
    static var document: JSON {
        .object([
            "openapi": "3.1.0",
            "info": .object([
                "title": "ruyi", "version": .string(Engine.version),
                "description":
                    "Videos of pictures, made one after the other. OpenAI's clients for videos work with it.",
            ]),
            "paths": paths,
            "components": .object([
                "schemas": .object([
                    "Request": request, "Video": video, "Error": error, "Picture": picture, "Plan": plan,
                    "Videos": list(of: "Video"), "Models": models,
                ]),
                "securitySchemes": .object(["token": .object(["type": "http", "scheme": "bearer"])]),
            ]),
            "security": .array([.object([:]), .object(["token": .array([])])]),
        ])
    }

    // MARK: Paths

    private static var paths: JSON {
        let body = content(["application/json": reference("Request")], isRequired: true)
        let form = content(
            ["application/json": reference("Request"), "multipart/form-data": reference("Request")], isRequired: true)
        return .object([
            "/healthz": .object(["get": operation("health", "Whether the server answers.", json: object)]),
            "/metrics": .object(["get": operation("metrics", "Figures for Prometheus.", type: "text/plain")]),
            "/openapi.json": .object(["get": operation("interface", "This document.", json: object)]),
            "/v1/models": .object([
                "get": operation("listModels", "The models, each with its settings.", json: reference("Models"))
            ]),
            "/v1/pictures": .object([
                "post": operation(
                    "keepPicture", "Sends a picture, which requests then name by its id.", json: reference("Picture"),
                    status: "201", body: content(["application/octet-stream": binary], isRequired: true))
            ]),
            "/v1/pictures/{id}": .object([
                "get": operation("showPicture", "A picture as PNG.", type: "image/png", parameters: [id])
            ]),
            "/v1/plan": .object([
                "post": operation(
                    "plan", "What a request would become, and what it takes.", json: reference("Plan"), body: body)
            ]),
            "/v1/videos": .object([
                "get": operation(
                    "listVideos", "The videos, the newest first.", json: reference("Videos"),
                    parameters: [
                        query("limit", .object(["type": "integer", "minimum": 1, "maximum": 1000])),
                        query("after", string),
                        query("order", .object(["type": "string", "enum": .array(["asc", "desc"])])),
                        query("state", string),
                    ]),
                "post": operation(
                    "createVideo", "Puts a video into the queue; several seeds give a list.",
                    json: .object(["anyOf": .array([reference("Video"), reference("Videos")])]), body: form),
            ]),
            "/v1/videos/{id}": .object([
                "get": operation("showVideo", "How a video stands.", json: reference("Video"), parameters: [id]),
                "delete": operation(
                    "deleteVideo", "Cancels a video if needed, and removes it.", json: object, parameters: [id]),
            ]),
            "/v1/videos/{id}/content": .object([
                "get": operation(
                    "videoContent", "The clip, or a part of it by a Range.", type: "video/mp4",
                    parameters: [
                        id,
                        query(
                            "variant",
                            .object(["type": "string", "enum": .array(["video", "thumbnail", "growing"])])),
                    ])
            ]),
            "/v1/videos/{id}/preview": .object([
                "get": operation(
                    "videoPreview", "The newest look at a video under way.", type: "image/webp", parameters: [id])
            ]),
            "/v1/videos/{id}/events": .object([
                "get": operation(
                    "videoEvents", "What happens to a video, as server-sent events.", type: "text/event-stream",
                    parameters: [id])
            ]),
            "/v1/videos/{id}/cancel": .object([
                "post": operation("cancelVideo", "Cancels a video.", json: reference("Video"), parameters: [id])
            ]),
            "/v1/videos/{id}/move": .object([
                "post": operation(
                    "moveVideo", "Moves a video that waits.", json: reference("Video"), parameters: [id],
                    body: content(
                        [
                            "application/json": .object([
                                "type": "object",
                                "properties": .object([
                                    "to": .object(["type": "string", "enum": .array(["first", "last"])]),
                                    "before": string,
                                ]),
                            ])
                        ], isRequired: true))
            ]),
            "/v1/videos/{id}/remix": .object([
                "post": operation(
                    "remixVideo", "The same video with a change.", json: reference("Video"), parameters: [id],
                    body: body)
            ]),
            "/v1/events": .object([
                "get": operation(
                    "events", "What happens in the queue, as server-sent events.", type: "text/event-stream")
            ]),
        ])
    }

    private static func operation(
        _ name: String, _ summary: String, json: JSON? = nil, type: String = "application/json", status: String = "200",
        parameters: [JSON] = [], body: JSON? = nil
    ) -> JSON {
        let answer = JSON.object([
            "description": .string(summary),
            "content": .object([
                JSON.Member(type, .object(["schema": json ?? (type == "text/plain" ? string : binary)]))
            ]),
        ])
        let failure = JSON.object([
            "description": "What is wrong.",
            "content": .object(["application/json": .object(["schema": reference("Error")])]),
        ])
        var members: [JSON.Member] = [
            .init("operationId", .string(name)), .init("summary", .string(summary)),
            .init("responses", .object([JSON.Member(status, answer), JSON.Member("default", failure)])),
        ]
        if !parameters.isEmpty { members.append(.init("parameters", .array(parameters))) }
        if let body { members.append(.init("requestBody", body)) }
        return .object(members)
    }

    private static func content(_ types: KeyValuePairs<String, JSON>, isRequired: Bool) -> JSON {
        .object([
            "required": .bool(isRequired),
            "content": .object(types.map { JSON.Member($0.key, .object(["schema": $0.value])) }),
        ])
    }

    private static let id = JSON.object(["name": "id", "in": "path", "required": true, "schema": string])

    private static func query(_ name: String, _ schema: JSON) -> JSON {
        .object(["name": .string(name), "in": "query", "schema": schema])
    }

    // MARK: Schemas

    private static let string = JSON.object(["type": "string"])
    private static let object = JSON.object(["type": "object"])
    private static let binary = JSON.object(["type": "string", "format": "binary"])
    private static func reference(_ name: String) -> JSON { .object(["$ref": .string("#/components/schemas/\(name)")]) }
    private static func nullable(_ type: String) -> JSON { .object(["type": .array([.string(type), "null"])]) }

    private static func list(of name: String) -> JSON {
        .object([
            "type": "object",
            "properties": .object([
                "object": .object(["const": "list"]), "data": .object(["type": "array", "items": reference(name)]),
            ]),
            "required": .array(["object", "data"]),
        ])
    }

    private static var models: JSON {
        .object([
            "type": "object",
            "properties": .object([
                "object": .object(["const": "list"]), "data": .object(["type": "array", "items": object]),
            ]), "required": .array(["object", "data"]),
        ])
    }

    /// Every setting that a request may have.
    private static var request: JSON {
        let common = CommonSettings.table
        let own = [common.image.key, common.endImage.key, common.model.key, common.seconds.key]
        let settings = SettingsTable.standard.all.filter { setting in
            [.clip, .encoding].contains(setting.traits.scope) && !own.contains(setting.key)
                && setting.traits.option != nil
        }
        let picture = JSON.object([
            "description": "The id of a picture that was sent, or a data: address; a file in a form.",
            "anyOf": .array([string, object]),
        ])
        return .object([
            "type": "object",
            "properties": .object(
                [
                    .init("model", .object(["type": "string", "description": "A model's name."])),
                    .init("input_reference", picture), .init("end_image", picture),
                    .init("name", .object(["type": "string", "description": "What the clip is called."])),
                    .init(
                        "seconds",
                        .object([
                            "type": .array(["number", "string"]), "description": .string(common.seconds.traits.help),
                        ])),
                ] + settings.map { JSON.Member($0.key, schema($0)) }),
        ])
    }

    private static func schema(_ setting: any AnySetting) -> JSON {
        var members = [JSON.Member("description", .string(setting.traits.help))]
        if setting.isFlag {
            members.append(.init("type", "boolean"))
        } else if setting is Setting<Int> {
            members.append(.init("type", "integer"))
        } else if setting is Setting<Double> {
            members.append(.init("type", "number"))
        } else if setting is Setting<String> {
            members.append(.init("type", .array(["string", "integer"])))
        }
        if let bounds = setting.bounds {
            members += [.init("minimum", .double(bounds.lowerBound)), .init("maximum", .double(bounds.upperBound))]
        }
        return .object(members)
    }

    private static var video: JSON {
        .object([
            "type": "object",
            "properties": .object([
                "id": string, "object": .object(["const": "video"]),
                "status": .object(["enum": .array(["queued", "in_progress", "completed", "failed"])]),
                "state": .object(["enum": .array(Job.State.allCases.map { .string($0.rawValue) })]),
                "progress": .object(["type": "integer", "minimum": 0, "maximum": 100]),
                "created_at": .object(["type": "integer"]), "model": string, "prompt": nullable("string"),
                "size": string,
                "seconds": string, "error": nullable("object"), "name": string, "position": nullable("integer"),
                "settings": object, "command": string,
            ]), "required": .array(["id", "object", "status", "state", "progress", "model"]),
        ])
    }

    private static var picture: JSON {
        .object([
            "type": "object",
            "properties": .object([
                "id": string, "name": string, "width": .object(["type": "integer"]),
                "height": .object(["type": "integer"]),
            ]), "required": .array(["id", "width", "height"]),
        ])
    }

    private static var plan: JSON {
        .object([
            "type": "object",
            "properties": .object([
                "width": .object(["type": "integer"]), "height": .object(["type": "integer"]),
                "frames": .object(["type": "integer"]), "peak_memory_bytes": .object(["type": "integer"]),
                "fits": .object(["type": "boolean"]),
            ]), "required": .array(["width", "height", "frames", "fits"]),
        ])
    }

    private static var error: JSON {
        .object([
            "type": "object",
            "properties": .object([
                "error": .object([
                    "type": "object",
                    "properties": .object([
                        "message": string, "type": string, "param": nullable("string"), "code": string,
                        "hint": nullable("string"),
                    ]), "required": .array(["message", "type", "code"]),
                ])
            ]), "required": .array(["error"]),
        ])
    }
}
