import RuyiFiles

/// The files of the page, which are part of the program.
enum Page {
    struct File: Sendable {
        let type: String
        let bytes: [UInt8]
        let tag: String

        init(_ bytes: [UInt8], type: String) {
            (self.bytes, self.type) = (bytes, type)
            tag = "\"\(SHA256.hex(bytes).prefix(16))\""
        }
    }

    static let files: [String: File] = {
        var files = [
            "page.html": File(PackageResources.page_html, type: "text/html; charset=utf-8"),
            "page.css": File(PackageResources.page_css, type: "text/css; charset=utf-8"),
        ]
        let modules = [
            "api.js": PackageResources.api_js, "dom.js": PackageResources.dom_js, "form.js": PackageResources.form_js,
            "gallery.js": PackageResources.gallery_js, "options.js": PackageResources.options_js,
            "page.js": PackageResources.page_js, "plan.js": PackageResources.plan_js,
            "queue.js": PackageResources.queue_js, "well.js": PackageResources.well_js,
        ]
        for (name, bytes) in modules { files[name] = File(bytes, type: "text/javascript; charset=utf-8") }
        return files
    }()
}
