import RuyiFamilies

/// A published checkpoint with the family that declares it.
public struct KnownModel: Sendable {
    /// Where it is, and what it is.
    public let published: PublishedModel
    /// The family's name.
    public let family: String

    /// Those of these families.
    public static func all(_ families: [any Family.Type] = Registry.families) -> [KnownModel] {
        families.flatMap { family in family.models.map { KnownModel(published: $0, family: family.name) } }
    }

    /// The model that somebody means by a repository's name or its last part, whatever its letters.
    public static func find(_ name: String, _ families: [any Family.Type] = Registry.families) -> PublishedModel? {
        let name = name.lowercased()
        return all(families).map(\.published).first {
            $0.repository.lowercased() == name || $0.name.lowercased() == name
        }
    }
}
