import RuyiKernelTable

#if !LEVEL_BF16
    /// The kernels of this target's instruction-set level.
    public let kernels = KernelTable(
        name: levelName, mr: tileRows, nr: tileColumns, tile: multiplyTile, packLeft: packLeft, packRight: packRight,
        convert: convert, packBlocks: packBlocks, unpackBlocks: unpackBlocks, packPlanes: packPlanes,
        finishRow: finishRow, normalizeRow: normalizeRow,
        rootMeanSquareRow: rootMeanSquareRow, rotateHalves: rotateHalves, rotateRow: rotateRow, endStreams: endStreams,
        moments: moments, affine: affine, combine: combine, exponentials: exponentials,
        gated: gated, softmaxTile: softmaxTile, maskTile: maskTile, addRows: addRows, partialTile: partialTile,
        transformWeights: transformWeights,
        transformInput: transformInput, transformOutput: transformOutput, scaleColumns: scaleColumns)
#endif
