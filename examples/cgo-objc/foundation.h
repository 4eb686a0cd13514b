// The part of Foundation and of the Objective-C runtime that this example uses.
#ifndef FOUNDATION_H
#define FOUNDATION_H
#include <stdarg.h>

#define nil ((id)0)

typedef signed char BOOL;
typedef unsigned long NSUInteger;

__attribute__((objc_root_class))
@interface NSObject {
  Class isa;
}
+ (instancetype)alloc;
+ (Class)class;
- (instancetype)init;
- (instancetype)retain;
- (void)release;
- (instancetype)autorelease;
- (void)dealloc;
- (BOOL)respondsToSelector:(SEL)selector;
@end

@interface NSString : NSObject
+ (instancetype)stringWithUTF8String:(const char *)text;
+ (instancetype)stringWithFormat:(NSString *)format, ...;
- (const char *)UTF8String;
- (NSUInteger)length;
- (NSString *)uppercaseString;
@end

@interface NSConstantString : NSString
@end

@interface NSMutableArray : NSObject
+ (instancetype)array;
- (void)addObject:(id)object;
- (NSUInteger)count;
- (id)objectAtIndex:(NSUInteger)index;
@end

@interface NSProcessInfo : NSObject
+ (NSProcessInfo *)processInfo;
- (NSString *)hostName;
@end

@interface NSAutoreleasePool : NSObject
- (void)drain;
@end

extern void NSLog(NSString *format, ...);
#endif
