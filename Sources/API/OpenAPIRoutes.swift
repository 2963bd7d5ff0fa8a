internal import HTTP

/// The OpenAPI document openapi.json, which the tests compare with the route table and live answers.
enum OpenAPIRoutes {
    static func get(_: API, _: Context) async throws(Failure) -> Answer {
        Answer(response: Response(status: .ok, contentType: "application/json", body: PackageResources.openapi_json))
    }
}
