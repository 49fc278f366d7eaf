/// A weight that lies where the host has it, mostly in a mapped file.
open class MappedWeight: WeightStorage, @unchecked Sendable {
    /// The stored elements that it was made of.
    package let tensor: HostTensor

    /// One that stays where it is.
    package init(_ tensor: HostTensor) {
        self.tensor = tensor
        super.init(byteCount: tensor.byteCount)
    }
}

extension Weight {
    /// The stored elements.
    package var elements: HostTensor {
        guard let mapped = storage as? MappedWeight else {
            preconditionFailure("a weight \(shape) of \(dtype) has no elements of its own")
        }
        return HostTensor(dtype: dtype, layout: layout, storage: mapped.tensor.storage)
    }
}

extension ResidencyUnit {
    /// The parts of files that the unit's weights are mapped from, those that touch joined.
    package var pages: [(file: any PagedFile, range: Range<Int>)] {
        var files: [ObjectIdentifier: (file: any PagedFile, ranges: [Range<Int>])] = [:]
        for storage in storages {
            guard let pages = (storage as? MappedWeight)?.tensor.storage.pages else { continue }
            files[ObjectIdentifier(pages.file), default: (pages.file, [])].ranges.append(pages.range)
        }
        return files.values.flatMap { file, ranges in
            var joined: [Range<Int>] = []
            for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
                if let last = joined.last, range.lowerBound <= last.upperBound + 64 {
                    joined[joined.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
                } else {
                    joined.append(range)
                }
            }
            return joined.map { (file, $0) }
        }
    }
}
