// Who imports the engine can build a request, read a plan and a fault, and stop a run without a second import.
@_exported import RuyiFamilies
@_exported import RuyiFault
@_exported import class RuyiTensor.Cancellation
@_exported import enum RuyiFiles.JSON
@_exported import struct RuyiPicture.FrameRate
@_exported import struct RuyiMedia.PictureOptions
