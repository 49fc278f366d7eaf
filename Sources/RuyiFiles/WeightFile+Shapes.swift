import RuyiFault

extension WeightFile {
    /// The length of an axis of a tensor, which must have so many, for sizes that are told from the weights.
    ///
    /// Throws `.badData` that names a tensor that is missing, or has other axes.
    package func size(_ axis: Int, of key: String, rank: Int) throws(Fault) -> Int {
        guard let shape = shape(of: key) else {
            throw Fault(
                .badData, "tensor \"\(key)\" is missing", at: path,
                hint: "the file is incomplete, or belongs to another model")
        }
        // What is empty may have any length along its other axes.
        guard shape.count == rank, shape.allSatisfy({ $0 > 0 }) else {
            throw Fault(.badData, "tensor \"\(key)\" is \(shape), expected \(rank) axes above 0", at: path)
        }
        return shape[axis]
    }

    /// The length of a numbered list of layers, such as `blocks`: one more than the largest number.
    ///
    /// Throws `.badData` when there is none.
    package func count(of list: String) throws(Fault) -> Int {
        let start = list + "."
        let numbers = keys.compactMap { key in
            key.hasPrefix(start) ? Int(key.dropFirst(start.count).prefix { $0 != "." }) : nil
        }
        guard let last = numbers.max(), (0..<4096).contains(last) else {
            throw Fault(.badData, "there are no tensors \"\(start)0...\"", at: path)
        }
        return last + 1
    }
}
