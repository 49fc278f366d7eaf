import RuyiFault
