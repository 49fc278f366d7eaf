import Glibc
import RuyiFault

/// Which pictures of a folder are taken, by patterns as the shell has them.
///
/// A pattern with a slash is compared with the path in the folder, any other with the name alone.
package struct NameFilter {
    let includes: [String]
    let excludes: [String]

    /// The filter that takes every picture.
    package static let all = NameFilter(includes: [], excludes: [])

    /// Whether every picture is taken.
    var isEmpty: Bool { includes.isEmpty && excludes.isEmpty }

    /// Whether a picture is taken, by its path in the folder.
    func holds(_ path: String) -> Bool {
        let name = Path.name(path)
        func fits(_ pattern: String) -> Bool {
            let isPath = pattern.contains("/")
            // `*` stays within one folder's name.
            return System.withPath(pattern, failure: false) { pattern in
                System.withPath(isPath ? path : name, failure: false) { fnmatch(pattern, $0, FNM_PATHNAME) == 0 }
            }
        }
        return (includes.isEmpty || includes.contains(where: fits)) && !excludes.contains(where: fits)
    }
}
