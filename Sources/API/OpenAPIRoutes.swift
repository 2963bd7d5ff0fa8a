internal import HTTP

/// The API as programs read it: openapi.json, which the tests hold against the route table and live answers.
enum OpenAPIRoutes {
    static func get(_: API, _: Context) async throws(Failure) -> Answer {
        Answer(response: Response(status: .ok, contentType: "application/json", body: PackageResources.openapi_json))
    }
}
