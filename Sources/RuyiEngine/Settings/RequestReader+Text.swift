import RuyiFault
import RuyiFiles

extension RequestReader {
    /// The value of a setting that is written as plain text, as environment variables and tables hold it.
    ///
    /// A text stands for itself where the setting takes one, otherwise for a number, for true or false, or for a list
    /// with commas. Throws what is wrong with the text as the setting's value.
    static func member(_ key: String, text: String, file: String) throws(Faults) -> JSON.Member {
        let asText = JSON.Member(key, .string(text))
        var forms = [text, "[\(text)]"].compactMap { form in
            (try? JSON.parse(Array(form.utf8), file: file)).map { JSON.Member(key, $0) }
        }.filter { $0.value != .null }
        // Settings that are true or false have no use for the words as texts.
        let first = forms.first?.value.bool == nil ? 0 : 1
        forms.insert(asText, at: first)
        for form in forms where (try? order([form], file: file)) != nil { return form }
        _ = try order([asText], file: file)
        return asText
    }
}
