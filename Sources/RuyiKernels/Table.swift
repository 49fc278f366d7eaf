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
        small: FilterKernels(
            values: 16, inputSide: 4, outputSide: 2, step: 2, reach: 2, transformWeights: transformWeights,
            transformInput: transformInput, transformOutput: transformOutput),
        large: FilterKernels(
            values: 36, inputSide: 6, outputSide: 4, step: 4, reach: 4, transformWeights: transformWeightsLarge,
            transformInput: transformInputLarge, transformOutput: transformOutputLarge),
        doubling: FilterKernels(
            values: 9, inputSide: 3, outputSide: 2, step: 1, reach: 2, transformWeights: doublingWeights,
            transformInput: doublingInput, transformOutput: doublingOutput),
        scaleColumns: scaleColumns)
#endif
